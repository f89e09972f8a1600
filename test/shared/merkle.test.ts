import { createHash } from "node:crypto";
import { EMPTY_ROOT, type Hash, isIncluded, leafHash, MerkleRoot, MerkleTree, nodeHash, rootFrom } from "@belay/shared";
import fc from "fast-check";
import t from "tap";

/** The eight leaves that the reference implementations of RFC 6962 test with, and the roots of the first 1 to 8 of them. */
const LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const hashes = LEAVES.map((hex) => leafHash(Buffer.from(hex, "hex")));
const hex = (hash: Hash | null) => hash?.toString("hex");

/** The tree's hash as RFC 6962, 2.1 defines it, word for word. */
function defined(leaves: readonly Hash[]): Hash {
  const [only] = leaves;
  if (only === undefined) return createHash("sha256").digest();
  if (leaves.length === 1) return only;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(defined(leaves.slice(0, split)), defined(leaves.slice(split)));
}

t.test("the roots are those that every implementation of RFC 6962 finds", async (t) => {
  t.equal(hex(EMPTY_ROOT), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  t.equal(hex(new MerkleTree([]).root), hex(EMPTY_ROOT));
  t.equal(hex(new MerkleRoot().root), hex(EMPTY_ROOT));
  for (const [index, root] of ROOTS.entries()) {
    const leaves = hashes.slice(0, index + 1);
    t.equal(hex(new MerkleTree(leaves).root), root);
    const growing = new MerkleRoot();
    for (const leaf of leaves) growing.add(leaf);
    t.equal(hex(growing.root), root);
    t.equal(growing.size, leaves.length);
  }
});

t.test("a path is the one that RFC 6962 gives", async (t) => {
  const tree = new MerkleTree(hashes.slice(0, 7));
  const [, b, c, , , f, j] = hashes.map(hex);
  const node = (left: number, right: number) => nodeHash(hashes[left] as Hash, hashes[right] as Hash);
  const [g, h, i] = [node(0, 1), node(2, 3), node(4, 5)];
  const k = nodeHash(g, h);
  const l = nodeHash(i, hashes[6] as Hash);
  // The four examples of section 2.1.3.
  t.same(tree.inclusionProof(0).map(hex), [b, hex(h), hex(l)]);
  t.same(tree.inclusionProof(3).map(hex), [c, hex(g), hex(l)]);
  t.same(tree.inclusionProof(4).map(hex), [f, j, hex(k)]);
  t.same(tree.inclusionProof(6).map(hex), [hex(i), hex(k)]);
  t.throws(() => tree.inclusionProof(7), RangeError);
  t.throws(() => tree.inclusionProof(-1), RangeError);
});

t.test("every leaf of every small tree is proven, and by nothing but its own path, place and size", async (t) => {
  for (let size = 1; size <= 70; size++) {
    const leaves = Array.from({ length: size }, (_, index) => leafHash(`leaf ${index}`));
    const tree = new MerkleTree(leaves);
    t.equal(hex(tree.root), hex(defined(leaves)), `the definition's root of ${size}`);
    for (const [index, leaf] of leaves.entries()) {
      const path = tree.inclusionProof(index);
      if (!isIncluded(leaf, index, size, path, tree.root)) t.fail(`leaf ${index} of ${size}`);
      for (let other = 0; other < size; other++) {
        if (other !== index && isIncluded(leaf, other, size, path, tree.root))
          t.fail(`${index} as ${other} of ${size}`);
      }
      if (rootFrom(leaf, index, size, [...path, leaf]) !== null) t.fail("a path that is too long");
      if (path.length > 0 && rootFrom(leaf, index, size, path.slice(0, -1)) !== null) t.fail("one that is too short");
    }
  }
});

t.test("a tree made in pieces is the same tree", async (t) => {
  for (const size of [0, 1, 4095, 4096, 4097, 10_001]) {
    const leaves = Array.from({ length: size }, (_, index) => leafHash(`leaf ${index}`));
    const pieces = MerkleTree.inPieces(leaves);
    let step = pieces.next();
    while (step.done !== true) step = pieces.next();
    const whole = new MerkleTree(leaves);
    t.equal(hex(step.value.root), hex(whole.root), `${size}`);
    if (size > 0) t.same(step.value.inclusionProof(size - 1).map(hex), whole.inclusionProof(size - 1).map(hex));
  }
});

t.test("a path with one bit changed leads elsewhere", async () => {
  const leaves = Array.from({ length: 1000 }, (_, index) => leafHash(`leaf ${index}`));
  const tree = new MerkleTree(leaves);
  fc.assert(
    fc.property(fc.nat(999), fc.nat(), fc.nat(255), (index, step, bit) => {
      const path = tree.inclusionProof(index).map((hash) => Buffer.from(hash));
      const leaf = leaves[index] as Hash;
      const hit = path[step % path.length] as Buffer;
      hit[bit >> 3] = (hit[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return !isIncluded(leaf, index, 1000, path, tree.root);
    }),
  );
});

t.test("what is no index, size or hash proves nothing", async (t) => {
  const [leaf] = hashes as [Hash];
  const root = leaf;
  t.ok(isIncluded(leaf, 0, 1, [], root));
  for (const [index, size] of [
    [1, 1],
    [-1, 1],
    [0, 0],
    [0.5, 1],
    [Number.NaN, 1],
    [0, 1.5],
    [2 ** 60, 2 ** 61],
  ] as const) {
    t.notOk(isIncluded(leaf, index, size, [], root), `${index} of ${size}`);
  }
  t.equal(rootFrom(leaf, 0, 2, [leaf.subarray(1)]), null, "half a hash");
});

t.test("a node can't be taken for a leaf, nor a leaf for a node", async (t) => {
  const [a, b] = hashes as [Hash, Hash];
  t.notSame(leafHash(Buffer.concat([a, b])), nodeHash(a, b));
});
