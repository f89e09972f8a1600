import { hostname, networkInterfaces } from "node:os";
import type { TlsConfig } from "../config.js";

const ANYWHERE = new Set(["0.0.0.0", "::", ""]);

/**
 * The names that agents may dial, for the certificate of belayd's own: those of belayd.yaml, or else what it listens on, or
 * else every name and address that this machine has at this moment.
 */
export function doorNames(tls: TlsConfig | null): readonly string[] {
  if (tls === null) return [];
  if (tls.names !== null) return tls.names;
  if (!ANYWHERE.has(tls.listen.host)) return [tls.listen.host];
  const addresses = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  // An address with a scope is of one link, and no name in a certificate.
  const usable = addresses.map(({ address }) => address).filter((address) => !address.includes("%"));
  return [...new Set([hostname(), "localhost", ...usable.filter((address) => !address.startsWith("fe80:"))])];
}
