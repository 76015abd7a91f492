// The inbox: choosing several alerts, and a banner for what came since, which waits while somebody chooses or writes.
"use strict";
(() => {
  let came = 0;
  let latest = "";
  let known = ids();
  let showNow = false;

  const one = (id) => document.getElementById(id);
  const boxes = () => Array.from(document.querySelectorAll('.inbox input[name="alert"]'));

  function ids() {
    return new Set(Array.from(document.querySelectorAll(".inbox > li")).map((item) => item.id));
  }

  function isBusy() {
    const form = one("chosen");
    if (document.querySelector(".wrong")) { return true; }
    return !!form && (boxes().some((box) => box.checked) || ["note", "many-until"].some((id) => one(id) && one(id).value));
  }

  function tally() {
    const count = boxes().filter((box) => box.checked).length;
    const said = one("tally");
    if (said) { said.textContent = count ? said.dataset.said.replace("{count}", count) : ""; }
    const part = one("acknowledge");
    if (part) { part.classList.toggle("chosen", count > 0); }
    const all = one("all");
    if (all) {
      all.checked = count > 0 && count === boxes().length;
      all.indeterminate = count > 0 && !all.checked;
    }
  }

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "btn";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  function tell() {
    const news = one("news");
    if (!news) { return; }
    news.textContent = "";
    if (!came) { return; }
    const line = document.createElement("p");
    const words = (came === 1 ? news.dataset.one : news.dataset.more.replace("{count}", came));
    line.textContent = words + (latest ? (document.documentElement.lang === "en" ? ": " : "：") + latest : "");
    news.append(line);
    if (isBusy()) {
      const held = document.createElement("small");
      held.textContent = news.dataset.held;
      line.append(document.createElement("br"), held);
      news.append(button(news.dataset.show, () => {
        // A refused form stands at its own address.
        if (location.pathname !== "/alerts") { location.assign(`/alerts${location.search}`); return; }
        showNow = true;
        document.dispatchEvent(new CustomEvent("refresh-now"));
      }));
    } else {
      news.append(button(news.dataset.seen, () => { came = 0; latest = ""; tell(); }));
    }
  }

  function begin() {
    const label = one("all-label");
    if (label) { label.hidden = false; }
    document.querySelectorAll(".inbox > li").forEach((item) => {
      if (!known.has(item.id)) { item.classList.add("fresh"); }
    });
    tally();
    tell();
  }

  document.addEventListener("news", (event) => {
    came += 1;
    try {
      const facts = JSON.parse(event.detail)._escrow;
      latest = document.documentElement.lang === "en" ? facts.why_en : facts.why;
    } catch { latest = ""; }
    tell();
  });
  document.addEventListener("refresh", (event) => {
    if (isBusy() && !showNow) { event.preventDefault(); return; }
    showNow = false;
    known = ids();
  });
  document.addEventListener("fresh", begin);
  document.addEventListener("change", (event) => {
    if (event.target.id === "all") { boxes().forEach((box) => { box.checked = event.target.checked; }); }
    if (event.target.closest("#chosen")) { tally(); tell(); }
  });
  begin();
})();
