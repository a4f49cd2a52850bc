/** Elements in one expression. Text is always text: nothing here parses HTML, and the page's policy forbids it. */
import type { Problem } from "../problem";

type Attributes = Record<string, string | number | boolean | null | ((event: Event) => void)>;
type Child = Node | string | null | undefined | false;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill<T extends Element>(element: T, attributes: Attributes, children: Child[]): T {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else setAttribute(element, name, value);
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

/** True stands for an attribute without a value, false and null for its absence. */
export function setAttribute(element: Element, name: string, value: string | number | boolean | null): void {
  if (value === false || value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value))
    element.setAttribute(name, value === true ? "" : String(value));
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as T;
}

export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

const shown = new WeakMap<Element, string>();

/**
 * Builds the children again only when `state` says something else than last time, and keeps the focus on the element
 * with the same id.
 */
export function renderWhen(container: Element, state: unknown, build: () => Child[]): void {
  const key = JSON.stringify(state, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
  if (shown.get(container) === key) return;
  shown.set(container, key);
  const focused = document.activeElement;
  const focusedId = focused && container.contains(focused) ? focused.id : "";
  container.replaceChildren(...build().filter((child): child is Node | string => Boolean(child)));
  if (focusedId) document.getElementById(focusedId)?.focus();
}

/** Read out by screen readers when it appears; the slot must be in the page before. */
export function showProblem(slot: Element, problem: Problem | null): void {
  renderWhen(slot, problem && [problem.what, problem.why, problem.hint], () => [
    problem && el("div", { class: "problem" }, ...problemLines(problem)),
  ]);
}

function problemLines({ what, why, hint }: Problem): HTMLElement[] {
  return [el("p", {}, el("strong", {}, what)), el("p", {}, why), el("p", { class: "hint" }, hint)];
}

/** A line for screen readers only, for changes that others see happen. */
export function announce(text: string): void {
  setText(byId("announcer"), text);
}

export function hidden(text: string): HTMLElement {
  return el("span", { class: "visually-hidden" }, text);
}

/** Copies, and says so on the button itself. */
export function copyButton(
  id: string,
  label: string,
  text: () => string,
  onCopied: () => void = () => {},
): HTMLElement {
  const button = el("button", { type: "button", class: "button", id }, label);
  button.addEventListener("click", async () => {
    const copied = await navigator.clipboard.writeText(text()).then(
      () => true,
      () => copyBySelection(text()),
    );
    button.textContent = copied ? "Copied" : "Copying failed";
    announce(copied ? `${label}: copied.` : "The browser did not allow copying. Save the file instead.");
    window.setTimeout(() => setText(button, label), 2_000);
    if (copied) onCopied();
  });
  return button;
}

/** For pages that are not served over https, where browsers have no clipboard. */
function copyBySelection(text: string): boolean {
  const area = el("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}

export function download(name: string, content: string): void {
  const url = URL.createObjectURL(new Blob([content], { type: "text/plain" }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Asks before something that cannot be undone. The safe answer has the focus. */
export function confirmed(title: string, text: string, yes: string): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  dialog.returnValue = "cancel";
  dialog.showModal();
  byId("confirm-cancel").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "confirm"), { once: true });
  });
}
