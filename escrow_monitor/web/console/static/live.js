// Keeps the page fresh: each feed event, and each minute, the page is fetched again and its <main> replaced.
"use strict";
(() => {
  const QUIET_MS = 1000;
  const EVERY_MS = 60000;
  const AGAIN_MS = 5000;
  let waiting = null;
  let source = null;
  let cut = false;

  async function refresh() {
    waiting = null;
    // Who is choosing or writing on the page may hold it back.
    if (document.hidden || !document.dispatchEvent(new CustomEvent("refresh", { cancelable: true }))) { return; }
    try {
      const answer = await fetch(location.pathname + location.search, { credentials: "same-origin", redirect: "manual" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("page");
      if (!fresh) { throw new Error("no page"); }
      document.getElementById("page").replaceWith(fresh);
      document.dispatchEvent(new CustomEvent("fresh"));
      say(source.readyState === EventSource.OPEN);
    } catch {
      say(false);
    }
  }

  function soon() {
    if (waiting === null) { waiting = setTimeout(refresh, QUIET_MS); }
  }

  function say(isLive) {
    const mark = document.getElementById("live");
    if (!mark) { return; }
    if (!mark.dataset.up) { mark.dataset.up = mark.textContent; }
    mark.textContent = isLive ? mark.dataset.up : mark.dataset.down;
    mark.className = isLive ? "up" : "down";
  }

  function listen() {
    source = new EventSource("/feeds/alerts/events");
    source.addEventListener("alert", (event) => {
      document.dispatchEvent(new CustomEvent("news", { detail: event.data }));
      soon();
    });
    // What was published while nobody listened is on the page after it.
    source.addEventListener("open", () => { say(true); if (cut) { cut = false; soon(); } });
    source.addEventListener("error", () => {
      cut = true;
      say(false);
      // A refusal ends a stream for good, a lost connection does not.
      if (source.readyState === EventSource.CLOSED) { setTimeout(listen, AGAIN_MS); }
    });
  }

  listen();
  document.addEventListener("refresh-now", refresh);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { soon(); } });
  setInterval(refresh, EVERY_MS);
})();
