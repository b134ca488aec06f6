"use strict";
// Draws the front and shows the plan of the point under the pointer or in focus; a click or Enter
// keeps it shown. Without this script the page has a still picture, and the table links the plans.
(() => {
  const root = document.documentElement;
  const host = document.getElementById("plot");
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const panels = [...document.querySelectorAll(".point-panel")];
  const status = document.getElementById("pinned");
  const initial = panels.find((panel) => panel.classList.contains("is-shown"));
  const REACH = 24; // px around a point that a click or a finger may miss it by
  let pinned = initial ? initial.dataset.point : null;
  let marks = [];

  const show = (point) => {
    for (const panel of panels) {
      panel.classList.toggle("is-shown", panel.dataset.point === point);
    }
    for (const mark of marks) {
      mark.classList.toggle("is-shown", mark.dataset.point === point);
      mark.setAttribute("aria-pressed", String(mark.dataset.point === pinned));
      mark.setAttribute("tabindex", mark.dataset.point === pinned ? "0" : "-1");
    }
  };

  const pin = (point) => {
    pinned = point;
    show(point);
    if (status) status.textContent = `Plan of point ${point} is shown`;
    window.history.replaceState(null, "", `#point-${point}`);
  };

  const step = (mark, key) => {
    const at = marks.indexOf(mark);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: marks.length - 1 }[key];
    if (next === undefined) return false;
    if (marks[next]) marks[next].focus();
    return true;
  };

  // Vega keeps the elements of marks when it redraws, so they are taken over once per chart.
  const takeOver = () => {
    marks = [...host.querySelectorAll(".front_marks > path")];
    for (const mark of marks) {
      const point = String(mark.__data__.datum.point);
      mark.dataset.point = point;
      mark.classList.add("front-point");
      mark.setAttribute("role", "button");
      mark.removeAttribute("aria-roledescription");
      mark.addEventListener("mouseenter", () => show(point));
      mark.addEventListener("mouseleave", () => show(pinned));
      mark.addEventListener("focus", () => show(point));
      mark.addEventListener("blur", () => show(pinned));
      mark.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") pin(point);
        else if (!step(mark, event.key)) return;
        event.preventDefault();
      });
    }
    show(pinned);
  };

  const nearest = (event) => {
    let best = null;
    let reach = REACH;
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      const away = Math.hypot(
        box.x + box.width / 2 - event.clientX,
        box.y + box.height / 2 - event.clientY,
      );
      if (away < reach) [best, reach] = [mark, away];
    }
    return best;
  };

  const draw = async (view) => {
    const options = { ast: true, actions: false, renderer: "svg", tooltip: false };
    await window.vegaEmbed(host, charts[view], { ...options, defaultStyle: false });
    takeOver();
  };

  const switches = [...document.querySelectorAll('input[name="view"]')];
  for (const input of switches) input.addEventListener("change", () => draw(input.value));

  // Where the current range of the plot leaves a point out, the range that has it is drawn.
  const reveal = async (point) => {
    const mark = marks.find((other) => other.dataset.point === point);
    const whole = switches.find((input) => input.value === "all");
    if (!mark || !whole || whole.checked) return;
    const frame = host.querySelector(".background").getBoundingClientRect();
    const box = mark.getBoundingClientRect();
    const inside = box.y >= frame.y - box.height && box.y <= frame.y + frame.height &&
      box.x >= frame.x - box.width && box.x <= frame.x + frame.width;
    if (inside) return;
    whole.checked = true;
    await draw("all");
  };

  const fromAddress = () => {
    const found = /^#point-(\d+)$/.exec(window.location.hash);
    if (!found || !panels.some((panel) => panel.dataset.point === found[1])) return;
    pin(found[1]);
    reveal(found[1]);
  };

  host.addEventListener("click", (event) => {
    const mark = nearest(event);
    if (mark) pin(mark.dataset.point);
  });

  const command = document.getElementById("command");
  if (command && navigator.clipboard) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", () => {
      navigator.clipboard.writeText(command.textContent).then(
        () => { button.textContent = "Copied"; },
        () => { button.textContent = "Copying is not allowed here"; },
      );
    });
    command.after(button);
  }

  // Where a table is wider than the window, the keyboard scrolls it as well.
  const reachable = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      if (box.scrollWidth <= box.clientWidth) {
        for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
        continue;
      }
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", box.querySelector("caption").textContent);
    }
  };
  window.addEventListener("resize", reachable);
  reachable();

  root.classList.add("js");
  draw("near").then(() => {
    window.addEventListener("hashchange", fromAddress);
    fromAddress();
    root.classList.add("drawn");
  });
})();
