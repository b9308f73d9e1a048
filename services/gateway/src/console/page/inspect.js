// One key, wherever it may be.

import { ask } from "./ask.js";
import * as view from "./view.js";

const { cell, number } = view;
const at = (id) => document.getElementById(id);

export function startInspector() {
  const [keyspace, key] = [at("keyspace"), at("key")];
  let looking;

  const tell = (text, state = "") => {
    at("inspect-told").textContent = text;
    at("inspect-told").className = state;
  };

  async function look() {
    looking?.abort();
    looking = new AbortController();
    const { signal } = looking;
    const query = new URLSearchParams({ keyspace: keyspace.value, key: key.value });
    if (at("ask-source").checked) query.set("source", "1");
    tell("Looking…");
    try {
      show(await ask(`inspect?${query}`, { signal }));
    } catch (error) {
      if (signal.aborted) return;
      at("inspect-result").hidden = true;
      tell(error.message, "bad");
    }
  }

  async function drop() {
    const [of, named] = [keyspace.value, key.value];
    const what = named ? `the copies of ${named} in ${of}` : `all of ${of}`;
    if (!confirm(`Drop ${what}, in every process? They are read from the database again.`)) return;
    try {
      const body = named ? { keyspace: of, key: named } : { keyspace: of };
      const { tokens } = await ask("invalidate", { body });
      tell(`Dropped ${what}. To read nothing older: larder-token ${Object.values(tokens).join(", ")}`, "good");
    } catch (error) {
      tell(`Not dropped: ${error.message}`, "bad");
    }
  }

  at("inspect-form").addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });
  at("drop").addEventListener("click", drop);

  return {
    /** The keyspaces there are, and whether the viewer may look at keys. */
    know(names, authorised) {
      view.choices(keyspace, names);
      at("inspect-locked").hidden = authorised;
      for (const control of at("inspect-form").elements) control.disabled = !authorised;
    },
    /** Looks at a key that was chosen elsewhere. */
    look(of, named) {
      keyspace.value = of;
      key.value = named;
      at("inspector").scrollIntoView({ block: "start" });
      key.focus({ preventScroll: true });
      look();
    },
  };

  function show(seen) {
    const rows = seen.places.map((place) => {
      const served = ["served", "loaded"].includes(place.verdict);
      const state = served ? "good" : place.verdict === "not there" ? "" : "warn";
      return view.make("tr", {},
        cell({ l1: "memory (L1)", l2: "remote tier (L2)", source: "database" }[place.place]),
        view.heading(place.replica),
        cell(view.badge(state, place.verdict.replaceAll("_", " "))),
        number(place.version),
        cell(place.found === false ? "known to be absent" : place.fingerprint, "code"),
        number(view.exact(place.bytes)),
        number(view.time(place.age_seconds)),
        number(view.time(place.soft_left_seconds)),
        number(view.time(place.hard_left_seconds)));
    });
    view.fill(at("inspect-table").tBodies[0], rows, "No replica has this keyspace.");
    at("inspect-result").hidden = false;
    const silent = seen.failures.map((failure) => `${failure.replica}: ${failure.error}`);
    const agreed = {
      true: "What would be served says what the database says.",
      false: "What would be served differs from the database; that may be a write of just now.",
      null: "Values are never shown; equal fingerprints are equal values.",
    }[seen.consistent];
    const failed = silent.length > 0 ? ` Not answering: ${silent.join("; ")}` : "";
    tell(`${seen.keyspace}/${seen.key}. ${agreed}${failed}`, seen.consistent === false || failed ? "warn" : "");
  }
}
