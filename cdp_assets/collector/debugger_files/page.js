"use strict";
const MOST = 500;
const rows = document.getElementById("rows");
const payload = document.getElementById("payload");
const filter = document.getElementById("filter");
const pause = document.getElementById("pause");
const state = document.getElementById("state");

const matches = (row) => row.textContent.toLowerCase().includes(filter.value.toLowerCase());
const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

function show(event) {
  const row = document.createElement("tr");
  for (const text of [event.received.slice(11, 23), event.source, event.type, event.name, event.who, event.verdict]) {
    row.append(Object.assign(document.createElement("td"), { textContent: text }));
  }
  row.classList.toggle("bad", event.verdict !== "ok");
  row.hidden = !matches(row);
  row.addEventListener("click", () => {
    rows.querySelector(".chosen")?.classList.remove("chosen");
    row.classList.add("chosen");
    payload.textContent = pretty(event.payload);
  });
  rows.prepend(row);
  while (rows.children.length > MOST) rows.lastChild.remove();
}

filter.addEventListener("input", () => {
  for (const row of rows.children) row.hidden = !matches(row);
});
pause.addEventListener("click", () => {
  const held = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(held));
});

const stream = new EventSource("events");
stream.onopen = () => { state.textContent = "live"; };
stream.onerror = () => { state.textContent = "not connected"; };
stream.onmessage = (message) => {
  if (pause.getAttribute("aria-pressed") !== "true") show(JSON.parse(message.data));
};
