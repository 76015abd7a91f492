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

  // On a narrow screen the nouns fold behind a button; Escape folds them again and gives the focus back.
  var menu = document.getElementById("menu");
  function unfold(open) {
    menu.setAttribute("aria-expanded", String(open));
    document.getElementById("nouns").classList.toggle("open", open);
  }
  if (menu) {
    menu.addEventListener("click", function () { unfold(menu.getAttribute("aria-expanded") !== "true"); });
    document.addEventListener("keydown", function (event) {
      if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") { unfold(false); menu.focus(); }
    });
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
      mine.textContent = " (" + document.body.dataset.yours + " " + said(at, minutes) + ")";
      one.insertAdjacentElement("afterend", mine);
    });
  }

  // The day too, where it is another one here than there.
  function said(at, minutes) {
    var form = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    var there = new Date(at.getTime() + minutes * 60000), here = new Date(at.getTime() - at.getTimezoneOffset() * 60000);
    if (there.getUTCDate() !== here.getUTCDate()) { form.month = "short"; form.day = "numeric"; }
    return at.toLocaleString(document.documentElement.lang === "en" ? "en-GB" : "zh-CN", form);
  }

  // What a part of a page could not fetch is said, and not left as if nothing had been asked.
  function failed(text) {
    var place = document.getElementById("failed");
    if (place) { place.textContent = text; }
  }
  document.addEventListener("htmx:responseError", function () { failed(document.body.dataset.failed); });
  document.addEventListener("htmx:sendError", function () { failed(document.body.dataset.failed); });
  // Of a part that was fetched anew the sum is read out, not all of it.
  document.addEventListener("htmx:afterSwap", function () {
    failed("");
    var found = document.querySelector("[data-told]"), told = document.getElementById("told");
    if (found && told) { told.textContent = found.dataset.told; }
  });

  beside();
  document.addEventListener("fresh", beside);
  document.addEventListener("htmx:afterSwap", beside);
  document.addEventListener("change", function (event) {
    var form = event.target.closest("form[data-send]");
    if (form && event.target.matches("select")) { form.requestSubmit ? form.requestSubmit() : form.submit(); }
  });
})();
