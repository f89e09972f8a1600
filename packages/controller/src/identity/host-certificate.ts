import { X509Certificate } from "node:crypto";
import { BelayError, CLIENT_AUTH, HOST_NAME, hostUri } from "@belay/shared";
import type { Authority } from "./authority.js";
import { type HostSerial, readSerial } from "./serial.js";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  X509Certificate as ParsedCertificate,
  SubjectAlternativeNameExtension,
} from "./x509.js";

/** What a host's certificate says. Whether it still counts is another question. */
export interface HostCertificate extends HostSerial {
  readonly host: string;
  /** The pin of the authority that issued it. */
  readonly issuer: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Reads a certificate that somebody shows as a host. It must be one of these authorities' (by signature, not by name
 * alone), for clients alone, and name one host of this fleet and nothing else, to the letter. Throws `certificate-foreign`.
 */
export function readHostCertificate(raw: Buffer, fleet: string, authorities: readonly Authority[]): HostCertificate {
  const certificate = new X509Certificate(raw);
  const issuer = authorities.find((authority) => authority.issued(certificate));
  if (issuer === undefined) throw foreign("no authority of ours issued it");
  const parsed = new ParsedCertificate(raw);
  const usages = parsed.getExtension(ExtendedKeyUsageExtension)?.usages ?? [];
  if (usages.length !== 1 || usages[0] !== CLIENT_AUTH) throw foreign("it is not for clients alone");
  if (certificate.ca || parsed.getExtension(BasicConstraintsExtension)?.ca === true)
    throw foreign("it is an authority's");
  const serial = readSerial(parsed.serialNumber);
  if (serial === null) throw foreign("its serial number is no host's");
  return {
    host: hostOf(parsed, fleet),
    issuer: issuer.pin,
    notBefore: parsed.notBefore.getTime(),
    notAfter: parsed.notAfter.getTime(),
    ...serial,
  };
}

function hostOf(parsed: ParsedCertificate, fleet: string): string {
  const names = parsed.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  const [name] = names;
  if (names.length !== 1 || name?.type !== "url") throw foreign("it does not name one host and nothing else");
  const host = name.value.slice(hostUri(fleet, "").length);
  // Written anew and compared as it stands, so that nothing which only looks like the name passes for it.
  if (HOST_NAME.test(host) && name.value === hostUri(fleet, host)) return host;
  throw foreign(`${JSON.stringify(name.value)} is no host of this fleet`);
}

function foreign(why: string): BelayError {
  return new BelayError("certificate-foreign", `this is no certificate of a host of ours: ${why}`);
}
