import { verify, X509Certificate } from "node:crypto";
import { authoritiesText, BelayError, type Issued, type Vouch } from "@belay/shared";
import type { HeldIdentity } from "./identity-file.js";
import { pinOf } from "./introduction.js";

/** What belayd says of whom to trust. */
export interface SaidAuthorities {
  readonly certificates: readonly string[];
  /** Pin of the one that issues. */
  readonly issuing: string;
  readonly vouch: Vouch;
}

/** What this host knows, and since when by belayd's clock. */
export interface KnownAuthorities {
  readonly fleet: string;
  readonly authorities: readonly string[];
  readonly since: number;
}

export function saidIn({ authorities: certificates, issuer: issuing, vouch }: Issued): SaidAuthorities {
  return { certificates, issuing, vouch };
}

export function knownOf({ fleet, authorities, vouchedAt: since = 0 }: HeldIdentity): KnownAuthorities {
  return { fleet, authorities, since };
}

/**
 * Holds what belayd says against what this host knows: one that it knows must stand behind the list, by its own key, and not
 * with a word that is older than the last one (`since`). Throws `answer-malformed`, `authorities-foreign`,
 * `authorities-unvouched` or `authorities-outdated`; gives the pins.
 */
export function mustBeVouched(said: SaidAuthorities, known: KnownAuthorities): string[] {
  const pins = pinsOf(said.certificates);
  const present = pinsOf(known.authorities);
  if (!pins.some((pin) => present.includes(pin))) {
    throw new BelayError("authorities-foreign", "belayd names authorities of which this host knows none");
  }
  const { certificates, issuing, vouch } = said;
  const issuer = known.authorities[present.indexOf(issuing)];
  const text = authoritiesText({ fleet: known.fleet, certificates, at: vouch.at });
  const signature = Buffer.from(vouch.signature, "base64");
  const isVouched =
    issuer !== undefined &&
    pins.includes(issuing) &&
    verify("sha256", Buffer.from(text), new X509Certificate(issuer).publicKey, signature);
  if (!isVouched) {
    throw new BelayError("authorities-unvouched", "no authority that this host knows stands behind what belayd names", {
      hint: "somebody may have belayd's connections without its authority: see belayd's log; what was trusted before stays",
    });
  }
  if (vouch.at < known.since && !areSame(certificates, known.authorities)) {
    throw new BelayError("authorities-outdated", "this list of authorities is older than the one that this host has");
  }
  return pins;
}

export function areSame(some: readonly string[], others: readonly string[]): boolean {
  const bytes = (pems: readonly string[]) => pems.map((pem) => new X509Certificate(pem).raw.toString("base64")).join();
  return bytes(some) === bytes(others);
}

/** Throws `answer-malformed` for what is no authority. */
function pinsOf(certificates: readonly string[]): string[] {
  return certificates.map((pem) => {
    const x509 = new X509Certificate(pem);
    if (x509.ca) return pinOf(x509.publicKey);
    throw new BelayError("answer-malformed", "belayd names an authority that is none");
  });
}
