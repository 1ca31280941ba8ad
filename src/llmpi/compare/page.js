"use strict";
// The page's language: what the address says, else the browser's.

const bodies = [...document.querySelectorAll("[data-body]")];

function speak(language) {
  document.documentElement.lang = language;
  for (const body of bodies) body.hidden = body.lang !== language;
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", button.lang === language);
}

function wanted() {
  const said = location.hash.match(/^#lang=([\w-]+)$/)?.[1];
  const known = (name) => bodies.some((body) => body.lang === name);
  return [said, ...navigator.languages].map((name) => name?.split("-")[0]).find(known) ?? bodies[0].lang;
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-language]");
  if (button) location.hash = `lang=${button.lang}`;
});
window.addEventListener("hashchange", () => speak(wanted()));
speak(wanted());
