import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { join } from "node:path";
import { IdentityFile } from "@belay/agent";
import { hashToken } from "@belay/controller/bearer-token";
import { Authorities } from "@belay/controller/identity/authorities";
import { writeSerial } from "@belay/controller/identity/serial";
import { AgentStore } from "@belay/controller/store/agents";
import { beginIdentity, type IdentityRow } from "@belay/controller/store/identities";
import type { Store } from "@belay/controller/store/sqlite";
import { FLEET } from "./plan.js";

/** How belayd knows its agents: by a token in the clear, on loopback, or by certificates over mutual TLS 1.3. */
export type Identification = "token" | "certificate";

/** `token` null: what the host is lies in its own folder. */
export interface KnownHost {
  readonly host: string;
  readonly token: string | null;
}

/** As long as belayd's own are by default: none is renewed while somebody measures. */
const CERTIFICATE_LIFE_MS = 7 * 24 * 3_600_000;
/** Certificates in the making at a time: enough to keep the engine's own threads busy. */
const TOGETHER = 64;

/** Where hosts come to be known; belayd does not run yet. */
export interface Enrolment {
  readonly store: Store;
  /** belayd's. */
  readonly dataDir: string;
  /** Each host's state lies in a folder of its name below it. */
  readonly agentsDir: string;
  readonly hosts: readonly string[];
}

/** Makes belayd and the hosts known to each other, before anything is measured. */
export function enrol(by: Identification, enrolment: Enrolment): Promise<KnownHost[]> {
  return by === "token" ? giveTokens(enrolment) : giveCertificates(enrolment);
}

async function giveTokens({ store, hosts }: Enrolment): Promise<KnownHost[]> {
  const known = hosts.map((host) => ({ host, token: randomBytes(24).toString("base64url") }));
  const hashes = known.map(({ host, token }) => ({ host, tokenHash: hashToken(token) }));
  await new AgentStore(store).putTokens(hashes, Date.now());
  return known;
}

/**
 * As if every host had joined: a key of its own, a certificate that belayd's own authority issues by belayd's own code, and
 * the row in its database by which it counts. A join for each would be ten thousand more handshakes, and measure nothing.
 */
async function giveCertificates({ store, dataDir, agentsDir, hosts }: Enrolment): Promise<KnownHost[]> {
  const now = Date.now();
  const authorities = await Authorities.open({ dir: join(dataDir, "ca"), fleet: FLEET, given: null, now });
  const { active, certificates } = authorities;
  const begun = { at: now, expiresAt: now + CERTIFICATE_LIFE_MS, trusts: [active.pin] };
  // All asked for at once share one commit.
  const rows = await Promise.all(
    hosts.map((host) => store.commits.write((tx) => beginIdentity(tx, { host, ...begun }))),
  );
  const joinOne = async ({ host, generation, issued }: IdentityRow) => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      publicKeyEncoding: { type: "spki", format: "der" },
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
    });
    const serial = writeSerial({ generation, sequence: issued });
    const certificate = await active.issueHost({
      fleet: FLEET,
      host,
      key: publicKey,
      serial,
      now,
      lifeMs: CERTIFICATE_LIFE_MS,
    });
    await new IdentityFile(join(agentsDir, host)).write({
      fleet: FLEET,
      host,
      key: privateKey,
      certificate,
      issuer: active.pin,
      authorities: certificates,
      vouchedAt: now,
      obtainedAt: now,
      lifeMs: CERTIFICATE_LIFE_MS,
      // There was none to spend; no two hosts name the same.
      token: createHash("sha256").update(host).digest("hex"),
    });
    return { host, token: null };
  };
  const known: KnownHost[] = [];
  for (let first = 0; first < rows.length; first += TOGETHER) {
    known.push(...(await Promise.all(rows.slice(first, first + TOGETHER).map(joinOne))));
  }
  return known;
}
