// What the console takes for live: `node --test rates.test.mjs`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

const source = await readFile(new URL("../../src/console/page/rates.js", import.meta.url), "utf8");
const rates = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const keyspace = (l1, l2, load) => ({
  name: "products", source: "products", reads: { l1, l2, load, stale: 0 }, misses: { cold: load },
  loads: load, load_errors: 0, entries: 5, bytes: 100, capacity_bytes: 1000,
});
const source_ = (rounds, counts) => ({
  name: "products", rounds,
  propagation: counts.map((count, n) => ({ most_seconds: [0.001, 0.01, null][n], count })),
});
const replica = (name, reads, rounds = 0, hints = [0, 0, 0]) => ({
  name, error: null, keyspaces: [keyspace(...reads)], sources: [source_(rounds, hints)],
});
const state = (at, ...replicas) => ({ at, replicas });

test("a ratio is of what was read between two answers and not since the start", () => {
  const then = state(100, replica("a", [1000, 0, 0]), replica("b", [0, 0, 1000]));
  const now = state(110, replica("a", [1060, 20, 0]), replica("b", [10, 0, 1010]));
  const live = rates.live(now, then);
  const { total, parts, ratio } = rates.shares(live.keyspaces.get("products").reads);
  assert.deepEqual([total, parts.l1, parts.l2, parts.load, parts.other], [100, 70, 20, 10, 0]);
  assert.equal(ratio("l1"), 0.7);
  assert.equal(rates.shares(live.replicas.get("b").reads).ratio("l1"), 0.5);
  assert.deepEqual([live.seconds, live.all.loads, live.all.entries], [10, 10, 10]);
});

test("a replica that began anew counts from nothing, and never backwards", () => {
  const then = state(100, replica("a", [1000, 0, 500]));
  const now = state(110, replica("a", [30, 0, 10]));
  assert.equal(rates.shares(rates.live(now, then).all.reads).total, 40);
});

test("a replica that is new or away brings no reads that nobody saw", () => {
  const away = { name: "b", error: "UNAVAILABLE", keyspaces: [], sources: [] };
  const then = state(100, replica("a", [10, 0, 0]), away);
  const now = state(110, replica("a", [20, 0, 0]), replica("b", [5000, 0, 0]));
  assert.equal(rates.shares(rates.live(now, then).all.reads).total, 10);
  assert.equal(rates.shares(rates.live(now, undefined).all.reads).total, 0);
  assert.equal(rates.shares({}).ratio("l1"), null);
  assert.equal(rates.live(state(110, away), now).replicas.get("b").entries, 0);
});

test("what is kept reaches back a minute, and has an end", () => {
  let history = [];
  for (let at = 0; at < 500; at += 1) history = rates.keep(history, state(at));
  assert.deepEqual([history[0].at, history.at(-1).at], [439, 499]);
  assert.equal(rates.before(history, rates.WINDOW).at, 489);
  assert.equal(rates.before(history, rates.MINUTE).at, 439);
  for (let at = 500; at < 510; at += 0.01) history = rates.keep(history, state(at));
  assert.ok(history.length <= 130);
  assert.equal(rates.before([state(1)], rates.WINDOW), undefined);
});

test("propagation is of all replicas, since then or since the start", () => {
  const then = state(100, replica("a", [0, 0, 0], 10, [5, 0, 0]));
  const now = state(110, replica("a", [0, 0, 0], 110, [7, 1, 0]), replica("b", [0, 0, 0], 1, [9, 9, 9]));
  const counts = (buckets) => buckets.map((bucket) => bucket.count);
  assert.deepEqual(counts(rates.propagation(now, then)), [2, 1, 0]);
  assert.deepEqual(counts(rates.propagation(now, undefined)), [16, 10, 9]);
  assert.equal(rates.rounds(now, then, "a", "products"), 10);
  assert.equal(rates.rounds(now, then, "b", "products"), null);
});

test("a quantile is the bound of its bucket", () => {
  const buckets = [{ most: 0.001, count: 50 }, { most: 0.01, count: 49 }, { most: null, count: 1 }];
  assert.equal(rates.quantile(buckets, 0.5), 0.001);
  assert.equal(rates.quantile(buckets, 0.99), 0.01);
  assert.equal(rates.quantile(buckets, 1), Infinity);
  assert.equal(rates.quantile([], 0.5), null);
});
