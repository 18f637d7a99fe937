(function () {
  "use strict";
  var form = document.getElementById("login");
  var reveal = document.getElementById("reveal");
  var clock = document.getElementById("clock");

  reveal.addEventListener("change", function () {
    document.getElementById(reveal.dataset.for).type = reveal.checked ? "text" : "password";
  });

  form.addEventListener("submit", function () {
    form.querySelector("button").disabled = true;
  });

  function tick() {
    clock.textContent = new Date().toLocaleString();
  }
  tick();
  setInterval(tick, 1000);
}());
