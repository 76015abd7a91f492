// Sends a chosen file as it is, tells how far it is, and goes on to where it is tried.
"use strict";
(function () {
  var form = document.getElementById("upload");
  if (!form) { return; }
  var bar = form.querySelector("progress"), told = document.getElementById("upload-told"), button = form.querySelector("button");
  var choice = form.querySelector("input[type=file]");

  function say(text) {
    told.textContent = text;
    told.hidden = !text;
  }

  function over(text) {
    button.disabled = false;
    bar.hidden = true;
    say(text);
    choice.focus();
  }

  form.querySelectorAll("[data-script]").forEach(function (one) { one.hidden = false; });
  form.addEventListener("submit", function (event) {
    event.preventDefault();
    var file = choice.files[0], request = new XMLHttpRequest();
    if (!file) { over(form.dataset.none); return; }
    if (file.size > Number(form.dataset.max)) { over(form.dataset.large); return; }
    var query = new URLSearchParams({ filename: file.name });
    form.querySelectorAll("[name]").forEach(function (one) {
      if (one !== choice && one.name !== "csrf") { query.set(one.name, one.value); }
    });
    request.open("POST", form.getAttribute("action") + "?" + query);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-CSRF-Token", form.dataset.csrf);
    request.upload.addEventListener("progress", function (sent) {
      if (sent.lengthComputable) { bar.max = sent.total; bar.value = sent.loaded; }
    });
    request.addEventListener("load", function () {
      var answer = {};
      try { answer = JSON.parse(request.responseText); } catch (error) { answer = {}; }
      if (request.status === 201 && answer.location) { window.location.assign(answer.location); return; }
      if (request.status === 413) { over(form.dataset.large); return; }
      if (request.status === 401 || request.status === 403) { over(form.dataset.old); return; }
      over(request.status === 503 ? form.dataset.busy : form.dataset.failed + (answer.detail ? " (" + answer.detail + ")" : ""));
    });
    request.addEventListener("error", function () { over(form.dataset.failed); });
    button.disabled = true;
    bar.hidden = false;
    bar.removeAttribute("value");
    say(form.dataset.sending + " " + file.name);
    request.send(file);
  });
})();
