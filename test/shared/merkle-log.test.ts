import { isConsistent, leafHash, nodeHash, proveConsistency, rangeRoot } from "@belay/shared";
import t from "tap";

/** The inputs and roots of RFC 6962's reference implementation. */
const INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
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
const LEAVES = INPUTS.map((hex) => leafHash(Buffer.from(hex, "hex")));

t.test("roots are those of the reference", async (t) => {
  for (const [index, root] of ROOTS.entries()) t.equal(rootOfRange(LEAVES.slice(0, index + 1)).toString("hex"), root);
});

/** Straight from the definition, by hashes of leaves. */
function rootOfRange(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 1) return leaves[0] as Buffer;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(rootOfRange(leaves.slice(0, split)), rootOfRange(leaves.slice(split)));
}

const SIZE = 70;
const many = Array.from({ length: SIZE }, (_, index) => leafHash(`entry ${index}`));
const stateAt = (size: number) => ({ size, root: size === 0 ? Buffer.alloc(0) : rootOfRange(many.slice(0, size)) });
const subtreeAt = async (height: number, index: number) =>
  rootOfRange(many.slice(index * 2 ** height, (index + 1) * 2 ** height));

t.test("every size is a consistent continuation of every smaller one", async (t) => {
  let failures = 0;
  for (let to = 1; to <= SIZE; to += 1) {
    if (!(await rangeRoot(0, to, subtreeAt)).equals(stateAt(to).root)) failures += 1;
    for (let from = 0; from <= to; from += 1) {
      const proof = await proveConsistency(from, to, subtreeAt);
      if (!isConsistent(stateAt(from), stateAt(to), proof)) failures += 1;
    }
  }
  t.equal(failures, 0);
});

t.test("a proof shows nothing but what it was made for", async (t) => {
  let taken = 0;
  for (let to = 1; to <= 33; to += 1) {
    for (let from = 1; from < to; from += 1) {
      const proof = await proveConsistency(from, to, subtreeAt);
      const wrong = { size: from, root: leafHash("another past") };
      if (isConsistent(wrong, stateAt(to), proof)) taken += 1;
      if (isConsistent(stateAt(from), { size: to, root: leafHash("another present") }, proof)) taken += 1;
      if (isConsistent(stateAt(from), stateAt(to), [...proof, leafHash("more")])) taken += 1;
      if (isConsistent(stateAt(from), stateAt(to), proof.slice(0, -1))) taken += 1;
      for (const [index, hash] of proof.entries()) {
        const bent = Buffer.from(hash);
        bent[index % 32] = (bent[index % 32] ?? 0) ^ 1;
        if (isConsistent(stateAt(from), stateAt(to), proof.with(index, bent))) taken += 1;
      }
      if (isConsistent(stateAt(to), stateAt(from), proof)) taken += 1;
    }
  }
  t.equal(taken, 0);
  t.notOk(isConsistent({ size: 3, root: leafHash("x") }, { size: 3, root: leafHash("y") }, []));
});
