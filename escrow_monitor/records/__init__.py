"""What is kept, and the only room that speaks SQL. It takes and gives domain values; rows never leave it."""
