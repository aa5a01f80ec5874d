(function () {
"use strict";
var doc = document, main = doc.getElementById("main"), NS = "http://www.w3.org/2000/svg";
function make(tag, to, text) { var e = doc.createElement(tag); if (text) e.textContent = text; if (to) to.appendChild(e); return e; }

// Arms can be hidden in all figures at once.
var arms = [].slice.call(doc.querySelectorAll(".arms .arm")), nav = doc.querySelector("nav");
if (arms.length > 1 && nav) {
  var bar = make("div"); bar.className = "bar"; bar.setAttribute("role", "group"); bar.setAttribute("aria-label", "Arms shown in the figures");
  make("span", bar, "Show");
  arms.forEach(function (a) {
    var b = make("button", bar), look = /\ba(\d)\b/.exec(a.className)[1];
    b.type = "button"; b.appendChild(a.cloneNode(true)); b.setAttribute("aria-pressed", "true"); b.dataset.look = look;
    b.addEventListener("click", function () { // arms that look alike go together
      var shown = String(!main.classList.toggle("hide" + look));
      bar.querySelectorAll("button").forEach(function (other) { if (other.dataset.look === look) other.setAttribute("aria-pressed", shown); });
    });
  });
  nav.parentNode.insertBefore(bar, nav.nextSibling);
}

// One moment, shown in every figure with an axis of seconds, and read from the table behind figure 1.
var drawings = [].slice.call(doc.querySelectorAll("svg[data-s]")), caption = doc.getElementById("t-f1"), figure = doc.getElementById("f1");
if (drawings.length && caption && figure) {
  var table = caption.parentNode, heads = [].slice.call(table.querySelectorAll("thead th")), rows = [].slice.call(table.querySelectorAll("tbody tr"));
  var end = Math.max.apply(null, drawings.map(function (d) { return +d.dataset.s; }));
  var box = make("div"); box.className = "moment";
  var label = make("label", box, "Moment, s "), range = make("input", label), out = make("output", box, "Point at a figure with an axis of seconds, or move this.");
  range.type = "range"; range.min = 0; range.max = end; range.step = 0.1; range.value = 0;
  figure.insertBefore(box, figure.querySelector("details"));
  var lines = drawings.map(function (d) {
    var l = doc.createElementNS(NS, "line"); l.setAttribute("class", "cur"); l.setAttribute("y1", 0);
    l.setAttribute("y2", d.viewBox.baseVal.height - 36); l.setAttribute("visibility", "hidden"); d.appendChild(l); return l;
  });
  var show = function (at) {
    at = Math.min(Math.max(at, 0), end);
    range.value = at;
    drawings.forEach(function (d, i) {
      var x = +d.dataset.x0 + (d.dataset.x1 - d.dataset.x0) * at / d.dataset.s;
      lines[i].setAttribute("x1", x); lines[i].setAttribute("x2", x); lines[i].setAttribute("visibility", at <= +d.dataset.s ? "visible" : "hidden");
    });
    var row = rows[0];
    rows.forEach(function (r) { if (parseFloat(r.cells[0].textContent) <= at + 1e-9) row = r; });
    if (!row) return;
    var start = function (r) { return parseFloat(r.cells[0].textContent); }, steps = rows.length > 1 ? start(rows[1]) - start(rows[0]) : end;
    if (at > start(row) + steps + 1e-9) { out.textContent = at.toFixed(1) + "\u00a0s: the table behind figure 1 ends before"; return; }
    out.textContent = at.toFixed(1) + "\u00a0s: " + heads.slice(1).map(function (h, i) { return h.textContent + " " + row.cells[i + 1].textContent; }).join(" · ");
  };
  range.addEventListener("input", function () { show(+range.value); });
  drawings.forEach(function (d) {
    d.addEventListener("pointermove", function (e) {
      var r = d.getBoundingClientRect(), x = (e.clientX - r.left) / r.width * d.viewBox.baseVal.width;
      if (x >= d.dataset.x0 - 2 && x <= +d.dataset.x1 + 2) show((x - d.dataset.x0) / (d.dataset.x1 - d.dataset.x0) * d.dataset.s);
    });
  });
}

// The data can be saved as a file.
var data = doc.getElementById("run-data"), place = doc.getElementById("save");
if (data && place) {
  var save = make("button", place, "Save the data as a file"); save.type = "button";
  save.addEventListener("click", function () {
    var a = make("a"); a.download = "data.json"; a.href = URL.createObjectURL(new Blob([data.textContent], { type: "application/json" }));
    a.click(); setTimeout(function () { URL.revokeObjectURL(a.href); }, 1000);
  });
}
})();
