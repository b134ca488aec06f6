"use strict";
// Shows the plan of the point under the pointer or in focus; a click or Enter keeps it shown.
// Points are links to their panels, so that without this script they work by navigation.
(() => {
  const root = document.documentElement;
  const panels = [...document.querySelectorAll(".point-panel")];
  const marks = [...document.querySelectorAll("a.front-point")];
  const status = document.getElementById("pinned");
  const initial = panels.find((panel) => panel.classList.contains("is-shown"));
  let pinned = initial ? initial.dataset.point : null;

  const show = (point) => {
    for (const panel of panels) {
      panel.classList.toggle("is-shown", panel.dataset.point === point);
    }
    for (const mark of marks) {
      mark.classList.toggle("is-shown", mark.dataset.point === point);
      mark.setAttribute("aria-current", String(mark.dataset.point === pinned));
    }
  };

  const visible = (mark) => mark.getClientRects().length > 0;

  // Where the current range of the plot leaves the point out, the range that has it is taken.
  const reveal = (point) => {
    const own = marks.filter((mark) => mark.dataset.point === point);
    const whole = document.getElementById("view-all");
    if (whole && !own.some(visible)) whole.checked = true;
  };

  const pin = (point) => {
    pinned = point;
    show(point);
    reveal(point);
    if (status) status.textContent = `Plan of point ${point} is shown`;
  };

  const fromAddress = () => {
    const found = /^#point-(\d+)$/.exec(window.location.hash);
    if (found && panels.some((panel) => panel.dataset.point === found[1])) pin(found[1]);
  };

  const step = (mark, key) => {
    const row = [...mark.parentNode.querySelectorAll("a.front-point")];
    const at = row.indexOf(mark);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: row.length - 1 }[key];
    if (next === undefined) return false;
    if (row[next]) row[next].focus();
    return true;
  };

  for (const mark of marks) {
    const point = mark.dataset.point;
    mark.addEventListener("mouseenter", () => show(point));
    mark.addEventListener("mouseleave", () => show(pinned));
    mark.addEventListener("focus", () => show(point));
    mark.addEventListener("blur", () => show(pinned));
    mark.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      pin(point);
      window.history.replaceState(null, "", `#point-${point}`);
    });
    mark.addEventListener("keydown", (event) => {
      if (step(mark, event.key)) event.preventDefault();
    });
  }

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

  root.classList.add("js");
  window.addEventListener("hashchange", fromAddress);
  show(pinned);
  fromAddress();
})();
