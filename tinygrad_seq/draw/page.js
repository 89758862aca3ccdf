// Steps through a computation: `at` ops have run.  All that is shown comes from the data beside the picture; nothing is computed here.
"use strict";

const $ = (id) => document.getElementById(id);
const { tensors, steps, scale: colours, painted } = JSON.parse($("data").textContent);
const svg = document.querySelector("#picture svg");
const title = (g) => g.querySelector("title").textContent;
const nodes = new Map([...svg.querySelectorAll("g.node")].map((g) => [title(g), g]));
const edges = [...svg.querySelectorAll("g.edge")].map((g) => ({ g, ends: title(g).split("->") }));
const owner = new Map(tensors.flatMap((tensor, i) => tensor.marks.map((mark) => [mark, i])));
let at = 0;
let chosen = null; // a tensor that the reader asked about
let timer = null;

// ---- what a step shows

const gradient = (tensor) => tensor.grads.findLast(([from]) => from <= at)?.[1];
const started = (tensor) => tensor.born <= at;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child != null));
  return element;
}

// Text in which a letter's index, as in h_3 and W_yᵀ, stands below the line.
function lettered(text) {
  const parts = text.split(/(?<![\p{L}\d_])(\p{L}\p{M}*)_([\p{Ll}\p{Lu}\d]{1,4})(?![\p{Ll}\p{Lu}\d_])/u);
  return parts.map((part, i) => (i % 3 === 2 ? make("sub", { textContent: part }) : part));
}

function numbers(shown) {
  if (shown.cells) {
    const rows = shown.cells.map((row) => make("tr", {}, ...row.map((cell) => make("td", { textContent: cell }))));
    return make("div", { className: "scroll" }, make("table", {}, make("tbody", {}, ...rows)));
  }
  const { min, mean, max } = shown.stats ?? {};
  const text = shown.stats ? `from ${min} to ${max}, mean ${mean}` : "no numbers";
  return make("p", { className: "stats", textContent: `${text}, norm ${shown.norm?.toPrecision(4) ?? "not finite"}` });
}

function labelled(kind, label, shown) {
  return shown && make("div", { className: kind }, make("p", { className: "label" }, ...lettered(label)), numbers(shown));
}

function card(i, letter, adds) {
  const tensor = tensors[i];
  const name = make("button", { title: "show what it is", onclick: () => choose(i) }, ...lettered(letter));
  const kind = make("span", { textContent: `${tensor.what} ${tensor.value.shape} ${tensor.value.dtype}` });
  const part = make("div", { className: "tensor" }, make("h3", {}, name, kind));
  part.dataset.tensor = i;
  part.append(started(tensor) ? labelled("value", "value", tensor.value) : make("p", { className: "label", textContent: "not computed yet" }));
  const grad = gradient(tensor);
  const extra = [adds && labelled("adds grad", `this step adds to ∂L/∂${letter}`, adds)];
  if (grad) extra.push(labelled("total grad", `∂L/∂${letter}${adds ? " so far" : ""}`, grad));
  part.append(...extra.filter(Boolean));
  return part;
}

function panel() {
  const step = steps[at - 1];
  if (chosen !== null) {
    const done = make("button", { textContent: "back to the step", onclick: () => choose(null) });
    return [make("h2", { textContent: "asked about" }), card(chosen, tensors[chosen].name || tensors[chosen].what), done];
  }
  if (!step) {
    const backward = steps.some((s) => s.phase === "backward") ? ", then what the gradient does" : "; it ends in no single number, so no gradient is shown";
    return [make("h2", { textContent: "the start" }), make("p", { textContent: `Inputs and weights have their values, nothing has run. Press → to see what each op does${backward}.` })];
  }
  const now = step.phase === "backward";
  const rules = step.rules.map((rule) => make("li", {}, ...lettered(rule)));
  return [
    make("h2", { textContent: [`${step.phase} ${step.what}`, step.where].filter(Boolean).join(", ") }),
    make("p", { className: "equation" }, ...lettered(step.equation)),
    make("ul", { className: now ? "rules now" : "rules" }, ...rules),
    ...step.out.map((i, k) => card(i, step.outputs[k])),
    ...step.in.map((i, k) => card(i, step.letters[k], step.adds[k])),
  ];
}

function paint(step) {
  const operands = new Set(step ? step.in.flatMap((i) => tensors[i].marks) : []);
  for (const [mark, g] of nodes) {
    const tensor = tensors[owner.get(mark)];
    if (!tensor) continue;
    const grad = gradient(tensor);
    g.classList.toggle("todo", !started(tensor));
    g.classList.toggle("now", step?.mark === mark);
    g.classList.toggle("operand", operands.has(mark));
    g.classList.toggle("chosen", chosen !== null && tensors[chosen].marks.includes(mark));
    g.classList.toggle("graded", Boolean(grad) && !tensor.plain); // one colour would not do for many steps
    g.classList.toggle("unpainted", painted && !grad);
    for (const page of grad ? ["light", "dark"] : []) {
      g.style.setProperty(`--${page}-fill`, grad[page][0]);
      g.style.setProperty(`--${page}-ink`, grad[page][1]);
    }
  }
  const here = foldedBox(step?.mark);
  for (const box of boxes) box.g.classList.toggle("now", box === here);
  for (const { g, ends } of edges) {
    const tail = tensors[owner.get(ends[0])];
    g.classList.toggle("now", Boolean(step) && ends[1] === step.mark);
    g.classList.toggle("todo", Boolean(tail) && !started(tail));
  }
}

function show() {
  const step = steps[at - 1];
  paint(step);
  $("panel").replaceChildren(...panel());
  $("panel").dataset.at = at;
  $("slider").value = at;
  $("slider").setAttribute("aria-valuetext", step ? `${step.phase} ${step.equation}` : "the start");
  $("count").textContent = `${at} of ${steps.length}`;
  const mark = chosen === null ? step?.mark : tensors[chosen].marks[0];
  if (mark) reveal(foldedBox(mark)?.g ?? nodes.get(mark));
}

// ---- going through it

function go(to) {
  at = Math.min(Math.max(to, 0), steps.length);
  chosen = null;
  show();
}

// All that runs in a folded box, in one pass, is one step.
function group(i) {
  const box = foldedBox(steps[i - 1]?.mark);
  return box && `${steps[i - 1].phase} ${boxes.indexOf(box)}`;
}

function move(way) {
  let to = at + way;
  const [from, next] = way > 0 ? [to, 1] : [at, 0];
  while (group(from) && group(to + next) === group(from)) to += way;
  go(to);
}

function play() {
  const playing = timer !== null;
  clearInterval(timer);
  timer = playing ? null : setInterval(() => (at < steps.length ? move(1) : play()), 500);
  $("play").setAttribute("aria-pressed", String(!playing));
}

function choose(i) {
  chosen = i;
  show();
}

// ---- boxes that fold

const boxes = [...svg.querySelectorAll("g.cluster")].map((g) => ({ g, inside: new Set(), folded: false }));

function findInsides() {
  const middles = [...nodes].filter(([mark]) => owner.has(mark)).map(([mark, g]) => {
    const { x, y, width, height } = g.getBBox();
    return [mark, x + width / 2, y + height / 2];
  });
  for (const box of boxes) {
    const outer = box.g.querySelector("polygon, path").getBBox();
    box.size = outer.width * outer.height;
    for (const [mark, x, y] of middles) {
      if (x > outer.x && x < outer.x + outer.width && y > outer.y && y < outer.y + outer.height) box.inside.add(mark);
    }
    for (const text of box.inside.size ? box.g.querySelectorAll("text") : []) text.addEventListener("click", () => fold(box));
  }
  boxes.sort((a, b) => a.size - b.size);
}

const foldedBox = (mark) => boxes.findLast((box) => box.folded && box.inside.has(mark));

function fold(box) {
  box.folded = !box.folded;
  box.g.classList.toggle("folded", box.folded);
  const parent = box.g.parentNode;
  if (box.folded) {
    box.place ??= box.g.nextSibling;
    parent.append(box.g); // over the lines that lead into it
  } else parent.insertBefore(box.g, box.place);
  for (const [mark, g] of nodes) g.classList.toggle("inside", Boolean(foldedBox(mark)));
  show();
}

function foldHere() {
  const mark = steps[at - 1]?.mark;
  const box = foldedBox(mark) ?? boxes.find((b) => b.inside.has(mark));
  if (box) fold(box);
}

// ---- the view

const whole = svg.viewBox.baseVal;
const home = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
let view = { ...home };

function look(next) {
  view = next;
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}

const scale = () => Math.max(view.width / svg.clientWidth, view.height / svg.clientHeight); // units of the drawing in a pixel
const shift = (dx, dy) => look({ ...view, x: view.x + dx * scale(), y: view.y + dy * scale() });

function zoom(factor, px = svg.clientWidth / 2, py = svg.clientHeight / 2) {
  const before = scale();
  const [cx, cy] = [view.x + view.width / 2, view.y + view.height / 2];
  const [dx, dy] = [(px - svg.clientWidth / 2) * before, (py - svg.clientHeight / 2) * before];
  const [width, height] = [view.width * factor, view.height * factor];
  look({ x: cx + dx * (1 - factor) - width / 2, y: cy + dy * (1 - factor) - height / 2, width, height });
}

function reveal(g) {
  if (!g) return;
  const frame = $("picture").getBoundingClientRect();
  const { left, right, top, bottom } = g.getBoundingClientRect();
  const margin = Math.min(90, frame.width / 4, frame.height / 4);
  const by = (low, high, least, most) => (high - low > most - least || low < least ? low - least : Math.max(0, high - most));
  const dx = by(left, right, frame.left + margin, frame.right - margin);
  const dy = by(top, bottom, frame.top + margin, frame.bottom - margin);
  if (dx || dy) shift(dx, dy);
}

// A picture too large to be read as a whole begins at a size at which it can be.
function begin() {
  const readable = 1.6;
  if (scale() <= readable) return;
  zoom(readable / scale());
  reveal(nodes.get(steps[0]?.mark));
}

// ---- finding

let matches = [];

function find(text) {
  const words = text.trim().toLowerCase();
  const where = new Map(steps.flatMap((step) => step.out.map((i) => [i, step.where])));
  matches = !words ? [] : tensors.map((t, i) => [t, i]).filter(([t, i]) => t.marks.length
    && `${t.name} ${t.what} ${where.get(i) ?? ""} ${nodes.get(t.marks[0])?.textContent ?? ""}`.toLowerCase().includes(words)).map(([, i]) => i);
  const marks = new Set(matches.flatMap((i) => tensors[i].marks));
  for (const [mark, g] of nodes) g.classList.toggle("found", marks.has(mark));
  $("found").textContent = words ? `${matches.length} found` : "";
}

function nextMatch() {
  if (!matches.length) return;
  choose(matches[(matches.indexOf(chosen) + 1) % matches.length]);
}

// ---- keys and pointer

const keys = {
  ArrowRight: () => move(1), ArrowLeft: () => move(-1), Home: () => go(0), End: () => go(steps.length),
  b: () => go(steps.findIndex((step) => step.phase === "backward") + 1 || at),
  " ": play, f: foldHere, "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), 0: () => look({ ...home }),
  "/": () => $("search").focus(), Escape: () => choose(null),
};
const panning = { ArrowRight: [60, 0], ArrowLeft: [-60, 0], ArrowDown: [0, 60], ArrowUp: [0, -60] };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target === $("search")) {
    if (event.key === "Enter") nextMatch();
    if (event.key === "Escape") { $("search").value = ""; find(""); $("picture").focus(); }
    return;
  }
  if (event.key === " " && event.target.closest("button, summary")) return; // it presses what has the focus
  const pan = event.shiftKey && panning[event.key];
  const act = pan ? () => shift(...pan) : keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

$("first").onclick = () => go(0);
$("back").onclick = () => move(-1);
$("next").onclick = () => move(1);
$("last").onclick = () => go(steps.length);
$("play").onclick = play;
$("nearer").onclick = () => zoom(0.8);
$("farther").onclick = () => zoom(1.25);
$("slider").max = steps.length;
$("slider").oninput = (event) => go(Number(event.target.value));
$("search").oninput = (event) => find(event.target.value);

let drag = null;
$("picture").addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, far: false }; });
$("picture").addEventListener("pointermove", (event) => {
  if (!drag || !event.buttons) return;
  const [dx, dy] = [drag.x - event.clientX, drag.y - event.clientY];
  if (!drag.far && Math.hypot(dx, dy) < 4) return;
  shift(dx, dy);
  drag = { x: event.clientX, y: event.clientY, far: true };
});
$("picture").addEventListener("click", (event) => {
  const node = event.target.closest("g.node");
  if (node && !drag?.far && owner.has(title(node))) {
    choose(owner.get(title(node)));
  }
});
$("picture").addEventListener("wheel", (event) => {
  event.preventDefault();
  const frame = $("picture").getBoundingClientRect();
  zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, event.clientX - frame.left, event.clientY - frame.top);
}, { passive: false });

if (colours) {
  $("scale").hidden = false;
  $("least").textContent = colours.least;
  $("greatest").textContent = colours.greatest;
  $("bar").style.setProperty("--colours", colours.colours.join());
}
findInsides();
begin();
show();
