import { nodeHash } from "./merkle.js";

/** Where whole subtrees of a log are had from: the hash over the leaves [index * 2^height, (index + 1) * 2^height). */
export type SubtreeAt = (height: number, index: number) => Promise<Buffer>;

/** The root over the leaves [from, to) of a log, as RFC 6962 has it. `from` must be a multiple of the largest subtree. */
export async function rangeRoot(from: number, to: number, subtreeAt: SubtreeAt): Promise<Buffer> {
  const count = to - from;
  if (isPowerOfTwo(count) && from % count === 0) return subtreeAt(Math.log2(count), from / count);
  const middle = from + splitOf(count);
  return nodeHash(await rangeRoot(from, middle, subtreeAt), await rangeRoot(middle, to, subtreeAt));
}

/**
 * What shows that the log of `to` entries goes on where the one of `from` ended (RFC 6962, 2.1.2). Empty where there is
 * nothing to show: from nothing, or to the same.
 */
export async function proveConsistency(from: number, to: number, subtreeAt: SubtreeAt): Promise<Buffer[]> {
  if (from === 0 || from === to) return [];
  const proof: Buffer[] = [];
  let known = true;
  const walk = async (start: number, cut: number, end: number): Promise<void> => {
    if (cut === end) {
      // The part of the old log that is whole here: whoever asks for the proof has that root itself, if it is all of it.
      if (!known) proof.push(await rangeRoot(start, end, subtreeAt));
      return;
    }
    const middle = start + splitOf(end - start);
    if (cut <= middle) {
      await walk(start, cut, middle);
      proof.push(await rangeRoot(middle, end, subtreeAt));
    } else {
      known = false;
      await walk(middle, cut, end);
      proof.push(await rangeRoot(start, middle, subtreeAt));
    }
  };
  await walk(0, from, to);
  return proof;
}

/** A log at one size. */
export interface LogState {
  readonly size: number;
  readonly root: Buffer;
}

/** True if `proof` shows that `newer` holds all of `older`, in the same order, and more behind it (RFC 9162, 2.1.4.2). */
export function isConsistent(older: LogState, newer: LogState, proof: readonly Buffer[]): boolean {
  if (older.size > newer.size) return false;
  if (older.size === 0) return proof.length === 0;
  if (older.size === newer.size) return proof.length === 0 && older.root.equals(newer.root);
  const path = isPowerOfTwo(older.size) ? [older.root, ...proof] : [...proof];
  let inner = older.size - 1;
  let last = newer.size - 1;
  const up = () => {
    inner = Math.floor(inner / 2);
    last = Math.floor(last / 2);
  };
  while (inner % 2 === 1) up();
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let olderRoot = first;
  let newerRoot = first;
  for (const hash of rest) {
    if (last === 0) return false;
    if (inner % 2 === 1 || inner === last) {
      olderRoot = nodeHash(hash, olderRoot);
      newerRoot = nodeHash(hash, newerRoot);
      while (inner % 2 === 0 && inner !== 0) up();
    } else newerRoot = nodeHash(newerRoot, hash);
    up();
  }
  return last === 0 && olderRoot.equals(older.root) && newerRoot.equals(newer.root);
}

/** The largest power of two below `count`. */
function splitOf(count: number): number {
  let half = 1;
  while (half * 2 < count) half *= 2;
  return half;
}

function isPowerOfTwo(count: number): boolean {
  return splitOf(count) * 2 === count || count === 1;
}
