// Puts the colours on before the page is drawn: what the reader chose, else what the system says.
"use strict";
(function () {
  var root = document.documentElement;
  var dark = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try { return localStorage.getItem("escrow_theme"); } catch (refused) { return null; }
  }

  function put() {
    var name = chosen() || (dark.matches ? "dark" : "light");
    root.setAttribute("data-bs-theme", name);
    document.dispatchEvent(new CustomEvent("theme", { detail: name }));
  }

  window.escrowTheme = {
    now: function () { return root.getAttribute("data-bs-theme"); },
    turn: function () {
      try { localStorage.setItem("escrow_theme", this.now() === "dark" ? "light" : "dark"); } catch (refused) { return; }
      put();
    },
  };
  // What is folded away only where scripts can unfold it.
  root.classList.add("scripts");
  if (dark.addEventListener) { dark.addEventListener("change", put); }
  put();
})();
