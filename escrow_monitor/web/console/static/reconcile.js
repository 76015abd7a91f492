// Settling by keyboard: up and down move, left and right choose, Enter gives the reason and sends, u undoes.
"use strict";
(function () {
  var KEPT = "escrow_settle";
  var cards = Array.prototype.slice.call(document.querySelectorAll("[data-card][tabindex]"));
  var keys = document.getElementById("keys");

  function kept() {
    try { return JSON.parse(sessionStorage.getItem(KEPT)) || {}; } catch (refused) { return {}; }
  }
  function keep(what) {
    try { sessionStorage.setItem(KEPT, JSON.stringify(what)); } catch (refused) { /* it is only a comfort */ }
  }
  function here() { return location.pathname; }

  function focus(card) {
    if (!card) { return; }
    cards.forEach(function (one) { one.tabIndex = one === card ? 0 : -1; });
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }
  function mark(card) {
    card.querySelectorAll(".option").forEach(function (one) {
      one.classList.toggle("chosen", one.querySelector("input").checked);
    });
  }
  function choose(card, step) {
    var options = Array.prototype.slice.call(card.querySelectorAll("input[type=radio]"));
    var at = options.findIndex(function (one) { return one.checked; });
    if (!options.length) { return; }
    options[(at + step + options.length) % options.length].checked = true;
    mark(card);
  }
  function reasonOf(card) { return card.querySelector("input[name=reason]"); }
  function enter(card) {
    var reason = reasonOf(card);
    if (!reason) { return; }
    if (card.dataset.card === "settle" && reason.value.trim()) { send(reason.form); } else { undo(card); }
  }
  function undo(card) {
    var folded = card.querySelector("details");
    if (folded) { folded.open = true; }
    var reason = reasonOf(card);
    if (reason) { reason.focus(); reason.select(); }
  }
  function send(form) { if (form.requestSubmit) { form.requestSubmit(); } else { form.submit(); } }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) { return; }
    var target = event.target;
    var card = target.closest ? target.closest("[data-card][tabindex]") : null;
    var typing = target.matches("input:not([type=radio]):not([type=checkbox]), textarea, select");
    if (typing) {
      if (event.key === "Escape" && card) { event.preventDefault(); focus(card); }
      return;
    }
    if (event.key === "u" || event.key === "U") {
      var made = document.querySelector("[data-made]");
      var which = card && card.dataset.card === "matched" ? card : made;
      if (which) { event.preventDefault(); undo(which); }
      return;
    }
    var at = cards.indexOf(card);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (at < 0 && target !== document.body && !target.matches("main")) { return; }
      event.preventDefault();
      focus(cards[Math.max(0, Math.min(cards.length - 1, at < 0 ? 0 : at + (event.key === "ArrowDown" ? 1 : -1)))]);
    } else if (card && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      event.preventDefault();
      choose(card, event.key === "ArrowRight" ? 1 : -1);
    } else if (card && event.key === "Enter" && (target === card || target.matches("input[type=radio]"))) {
      event.preventDefault();
      enter(card);
    }
  });

  document.addEventListener("change", function (event) {
    var card = event.target.closest("[data-card]");
    if (card && event.target.matches("input[type=radio]")) { mark(card); }
    if (event.target.matches("#free input[type=checkbox]")) { tally(); }
  });

  // What is sent once is not sent twice; the server would not do it twice either.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.method !== "post") { return; }
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    var card = form.closest("[data-card]");
    var reason = form.querySelector("input[name=reason]");
    if (card && reason) {
      keep({ path: here(), kind: card.dataset.card, at: ofKind(card.dataset.card).indexOf(card), reason: reason.value });
    }
  });
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) { document.querySelectorAll("form[data-sent]").forEach(function (one) { delete one.dataset.sent; }); }
  });

  function ofKind(kind) { return cards.filter(function (one) { return one.dataset.card === kind; }); }

  function yuan(fen) {
    return (fen / 100).toLocaleString(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }
  function tally() {
    var said = document.getElementById("tally");
    if (!said) { return; }
    var sums = { line: 0, item: 0 };
    var chosen = document.querySelectorAll("#free input[type=checkbox]:checked");
    chosen.forEach(function (one) { sums[one.name] += Number(one.dataset.fen); });
    said.hidden = !chosen.length;
    said.textContent = said.dataset.said.replace("{lines}", yuan(sums.line)).replace("{items}", yuan(sums.item))
      .replace("{difference}", yuan(sums.line - sums.item));
    said.classList.toggle("bad", sums.line !== sums.item);
  }

  if (keys && cards.length) { keys.hidden = false; }
  if (cards.length) { cards[0].tabIndex = 0; }
  cards.forEach(mark);
  tally();

  // After one is settled, the next stands where it was, with the reason that was given last.
  var before = kept();
  if (before.path === here()) {
    ofKind("settle").forEach(function (card) {
      var reason = reasonOf(card);
      if (before.kind === "settle" && reason && !reason.value) { reason.value = before.reason; }
    });
    var wrong = document.querySelector(".wrong");
    var next = ofKind(before.kind);
    if (wrong) { wrong.focus(); } else if (document.querySelector("#done .done")) { focus(next[Math.min(before.at, next.length - 1)]); }
  }
})();
