// What is live: differences between answers. Pure functions, without a page.

/** Milliseconds over which rates are taken, and propagation. */
export const WINDOW = 10_000;
export const MINUTE = 60_000;

/** The outcomes of reads that stand for themselves; the others are "other". */
const TIERS = ["l1", "l2", "joined", "load"];

/** Keeps what was answered within the last minute, and the one before it. */
export function keep(history, state) {
  const from = state.at * 1000 - MINUTE;
  const first = history.findLastIndex((old) => old.at * 1000 <= from);
  return [...history.slice(Math.max(first, 0)), state].slice(-130);
}

/** The youngest answer that is at least so old; the oldest, if none is. */
export function before(history, window) {
  const now = history.at(-1);
  const old = history.slice(0, -1);
  return old.findLast((state) => (now.at - state.at) * 1000 >= window) ?? old[0];
}

/** How a counter has grown. One that went back began anew with its process. */
const grown = (now, then) => (now >= then ? now - then : now);

const named = (list, name) => list?.find((one) => one.name === name);

/** How counters by name have grown. */
function counts(now, then = {}) {
  return Object.fromEntries(Object.entries(now).map(([name, n]) => [name, grown(n, then[name] ?? 0)]));
}

function add(sum, more) {
  for (const [name, n] of Object.entries(more)) sum[name] = (sum[name] ?? 0) + n;
}

/** The parts of reads by who answered them; null where there were none. */
export function shares(reads) {
  const total = Object.values(reads).reduce((sum, n) => sum + n, 0);
  const parts = Object.fromEntries(TIERS.map((tier) => [tier, reads[tier] ?? 0]));
  parts.other = total - TIERS.reduce((sum, tier) => sum + parts[tier], 0);
  return { total, parts, ratio: (tier) => (total > 0 ? parts[tier] / total : null) };
}

const empty = () => ({
  reads: {}, misses: {}, loads: 0, loadErrors: 0, entries: 0, bytes: 0, capacity: 0, replicas: 0,
});

function note(sum, now, then) {
  add(sum.reads, counts(now.reads, then.reads));
  add(sum.misses, counts(now.misses, then.misses));
  sum.loads += grown(now.loads, then.loads);
  sum.loadErrors += grown(now.load_errors, then.load_errors);
}

/**
 * What went on between two answers: in all, by keyspace, and by replica. A replica that is in one
 * of them only adds what it has, and no reads.
 */
export function live(now, then) {
  const all = empty();
  const keyspaces = new Map();
  const replicas = new Map();
  for (const replica of now.replicas) {
    const old = named(then?.replicas, replica.name);
    const of = empty();
    replicas.set(replica.name, of);
    for (const keyspace of replica.keyspaces) {
      if (!keyspaces.has(keyspace.name)) keyspaces.set(keyspace.name, empty());
      const sum = keyspaces.get(keyspace.name);
      sum.replicas += 1;
      for (const to of [sum, all]) {
        to.entries += keyspace.entries;
        to.bytes += keyspace.bytes;
        to.capacity += keyspace.capacity_bytes;
      }
      const known = named(old?.keyspaces, keyspace.name);
      if (known) for (const to of [sum, all, of]) note(to, keyspace, known);
    }
  }
  return { seconds: then ? now.at - then.at : 0, all, keyspaces, replicas };
}

/** How the counters of a source at a replica have grown; null where it is not known. */
export function rounds(now, then, name, source) {
  const at = (state) => named(named(state?.replicas, name)?.sources, source);
  const [new_, old] = [at(now), at(then)];
  if (!new_ || !old || !then) return null;
  return grown(new_.rounds, old.rounds) / (now.at - then.at);
}

/** The histogram of all replicas, since `then` or since they started. */
export function propagation(now, then) {
  const sum = [];
  for (const replica of now.replicas) {
    for (const source of replica.sources) {
      const old = named(named(then?.replicas, replica.name)?.sources, source.name);
      if (then && !old) continue;
      source.propagation.forEach((bucket, n) => {
        sum[n] ??= { most: bucket.most_seconds, count: 0 };
        sum[n].count += grown(bucket.count, old?.propagation[n]?.count ?? 0);
      });
    }
  }
  return sum;
}

/** The bound of the bucket that the quantile falls into; null without times, Infinity for the last. */
export function quantile(buckets, share) {
  const total = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  if (total === 0) return null;
  let seen = 0;
  for (const bucket of buckets) {
    seen += bucket.count;
    if (seen >= share * total) return bucket.most ?? Infinity;
  }
  return Infinity;
}
