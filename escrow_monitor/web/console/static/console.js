// What every page can do: turn the colours, print, send filters as they are chosen, say times in the reader's zone.
"use strict";
(function () {
  var button = document.getElementById("theme");

  function name() {
    var other = window.escrowTheme.now() === "dark" ? button.dataset.light : button.dataset.dark;
    button.setAttribute("aria-label", other);
    button.title = other;
  }

  if (button && window.escrowTheme) {
    button.hidden = false;
    button.addEventListener("click", function () { window.escrowTheme.turn(); });
    document.addEventListener("theme", name);
    name();
  }

  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details:not([open])").forEach(function (one) { one.open = true; one.dataset.folded = ""; });
  });
  window.addEventListener("afterprint", function () {
    document.querySelectorAll("details[data-folded]").forEach(function (one) { one.open = false; delete one.dataset.folded; });
  });
  document.querySelectorAll("[data-print]").forEach(function (one) {
    one.hidden = false;
    one.addEventListener("click", function () { window.print(); });
  });

  // Where the reader's clock is not the bank's, theirs stands beside it.
  function beside() {
    document.querySelectorAll("time[datetime*=T]:not([data-seen])").forEach(function (one) {
      one.dataset.seen = "";
      var found = /([+-])(\d\d):(\d\d)$/.exec(one.dateTime);
      if (!found) { return; }
      var at = new Date(one.dateTime);
      var minutes = (found[1] === "-" ? -1 : 1) * (Number(found[2]) * 60 + Number(found[3]));
      if (isNaN(at) || -at.getTimezoneOffset() === minutes) { return; }
      var mine = document.createElement("span");
      mine.className = "yours";
      mine.textContent = " (" + document.body.dataset.yours + " " + at.toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hour12: false }) + ")";
      one.insertAdjacentElement("afterend", mine);
    });
  }

  beside();
  document.addEventListener("fresh", beside);
  document.addEventListener("htmx:afterSwap", beside);
  document.addEventListener("change", function (event) {
    var form = event.target.closest("form[data-send]");
    if (form && event.target.matches("select")) { form.requestSubmit ? form.requestSubmit() : form.submit(); }
  });
})();
