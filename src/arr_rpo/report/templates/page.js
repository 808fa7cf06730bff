"use strict";
// What is drawn comes from one JSON block. Text reaches the page as text nodes only, so that a prompt is never markup.
const report = JSON.parse(document.getElementById("report-data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

const byId = (id) => document.getElementById(id);
const clear = (node) => (node.replaceChildren(), node);

function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function swatch(arm) {
  const line = shape("line", { x1: 1, x2: 25, y1: 6, y2: 6, "stroke-width": 3, "stroke-dasharray": DASHES[report.arms[arm].dash] });
  line.style.stroke = `var(--c${report.arms[arm].colour})`;
  return shape("svg", { class: "swatch", viewBox: "0 0 26 12", "aria-hidden": "true" }, line);
}

function picture(number, alt) {
  const found = report.pictures[number];
  const small = found.width <= 96;
  return element("img", { class: small ? "picture pixels" : "picture", src: found.src, alt, width: found.width, height: found.height });
}

// The value of the checked radio button.
const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

function number(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return `${trimmed(value / 1e6)}M`;
  if (size >= 1e4) return `${trimmed(value / 1e3)}k`;
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return size >= 10 ? value.toFixed(1) : value.toFixed(3);
}
const trimmed = (value) => String(Number(value.toPrecision(3)));
