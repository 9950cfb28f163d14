"use strict";
(() => {
  const form = document.getElementById("filters");
  const cards = [...document.querySelectorAll(".card")];
  const shown = document.getElementById("shown");
  const none = document.getElementById("none");

  // --- filters: the form says what is shown, and the address repeats it ---

  const chosen = () => {
    const wanted = new URLSearchParams();
    for (const name of ["state", "verdict"]) {
      const boxes = [...form.querySelectorAll(`input[name=${name}]`)];
      const on = boxes.filter((box) => box.checked).map((box) => box.value);
      if (on.length) wanted.set(name, on.join(","));
    }
    for (const name of ["stage", "op", "text"]) {
      const value = form.elements[name].value.trim();
      if (value) wanted.set(name, value);
    }
    return wanted;
  };

  const matches = (card, wanted) => {
    const data = card.dataset;
    const has = (name, value) => !wanted.has(name) || wanted.get(name).split(",").includes(value);
    return has("state", data.state) && has("verdict", data.verdict) && has("stage", data.stage)
      && (!wanted.has("op") || data.ops.split(" ").includes(wanted.get("op")))
      && (wanted.get("text") || "").toLowerCase().split(/\s+/).every((word) => data.text.includes(word));
  };

  const apply = () => {
    const wanted = chosen();
    let count = 0;
    for (const card of cards) {
      card.hidden = !matches(card, wanted);
      count += !card.hidden;
    }
    shown.textContent = count === cards.length ? `${count} shown` : `${count} of ${cards.length} shown`;
    none.hidden = count > 0;
    return wanted;
  };

  const changed = () => {
    const text = apply().toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  };

  const fromAddress = () => {
    const text = decodeURIComponent(location.hash.slice(1).replaceAll("+", " "));
    const target = text && document.getElementById(text);
    const wanted = new URLSearchParams(target ? "" : location.hash.slice(1));
    for (const name of ["state", "verdict"]) {
      const on = (wanted.get(name) || "").split(",");
      for (const box of form.querySelectorAll(`input[name=${name}]`)) box.checked = on.includes(box.value);
    }
    for (const name of ["stage", "op", "text"]) {
      form.elements[name].value = wanted.get(name) || "";
      if (form.elements[name].selectedIndex === -1) form.elements[name].value = "";
    }
    apply();
    const card = target && target.closest("details");
    if (card) {
      card.open = true;
      card.scrollIntoView();
    }
    if (wanted.size) document.getElementById("findings").scrollIntoView();
  };

  if (form) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", changed);
    form.addEventListener("reset", () => setTimeout(changed));
    document.getElementById("open").addEventListener("click", (event) => {
      const open = cards.some((card) => !card.hidden && !card.open);
      for (const card of cards) if (!card.hidden) card.open = open;
      event.target.textContent = open ? "Close all" : "Open all";
    });
    addEventListener("hashchange", fromAddress);
    fromAddress();
  }

  // --- copying ---

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {  // refused, or a browser that takes a file for an insecure place
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };

  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copied(button.parentElement.querySelector("pre").textContent);
      button.textContent = done ? "Copied" : "Select and copy by hand";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
