import { createHash } from "node:crypto";
import { must, run } from "./command.js";

/** A bridge of this machine's own: its hosts reach one another and this machine, and nothing else. */
export interface Network {
  readonly bridge: string;
  /** `10.213.7`: hosts are `<prefix>.<number>`; this machine is `<prefix>.1`. */
  readonly prefix: string;
}

/** A /16 of the private range that hardly anybody uses; which /24 of it is free is looked up. */
const RANGE = "10.213";
const NETWORKS = 254;

/** The bridge of a lab of this name: 15 characters are all that the kernel lets an interface be called. */
export function bridgeOf(lab: string): string {
  return `bl-${digestOf(lab).slice(0, 10)}`;
}

function digestOf(lab: string): string {
  return createHash("sha256").update(lab).digest("hex");
}

/** Makes the bridge, with the first free network of the range. Throws when there is none. */
export async function makeNetwork(lab: string): Promise<Network> {
  const bridge = bridgeOf(lab);
  const taken = await must(["ip", "-o", "-4", "addr", "show"]);
  // Labs that are made at the same moment look in different places first.
  const first = Number.parseInt(digestOf(lab).slice(0, 6), 16);
  for (let step = 0; step < NETWORKS; step += 1) {
    const prefix = `${RANGE}.${1 + ((first + step) % NETWORKS)}`;
    if (taken.includes(` ${prefix}.`)) continue;
    await must(["ip", "link", "add", bridge, "type", "bridge"]);
    await must(["ip", "addr", "add", `${prefix}.1/24`, "dev", bridge]);
    await must(["ip", "link", "set", bridge, "up"]);
    return { bridge, prefix };
  }
  throw new Error(`no free network in ${RANGE}.0.0/16`);
}

/** Idempotent. */
export async function removeNetwork(lab: string): Promise<void> {
  const bridge = bridgeOf(lab);
  await run(["ip", "link", "del", bridge]);
  if ((await run(["ip", "link", "show", bridge])).code === 0) throw new Error(`bridge ${bridge} can't be taken away`);
}
