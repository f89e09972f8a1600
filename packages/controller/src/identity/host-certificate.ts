import type { X509Certificate } from "node:crypto";
import { BelayError, CLIENT_AUTH, HOST_NAME, hostUri } from "@belay/shared";
import type { Authority } from "./authority.js";
import { type HostSerial, readSerial } from "./serial.js";

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
 * By OpenSSL's own eyes, which have parsed it already: thousands of hosts may come back at once.
 */
export function readHostCertificate(
  certificate: X509Certificate,
  fleet: string,
  authorities: readonly Authority[],
): HostCertificate {
  const issuer = authorities.find((authority) => authority.issued(certificate));
  if (issuer === undefined) throw foreign("no authority of ours issued it");
  const usages = certificate.keyUsage ?? [];
  if (usages.length !== 1 || usages[0] !== CLIENT_AUTH) throw foreign("it is not for clients alone");
  // By OpenSSL's rules: one that could issue others.
  if (certificate.ca) throw foreign("it is an authority's");
  const serial = readSerial(certificate.serialNumber.toLowerCase());
  if (serial === null) throw foreign("its serial number is no host's");
  return {
    host: hostOf(certificate, fleet),
    issuer: issuer.pin,
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
    ...serial,
  };
}

function hostOf({ subjectAltName: names = "" }: X509Certificate, fleet: string): string {
  const host = names.slice(`URI:${hostUri(fleet, "")}`.length);
  // Written anew and compared with all the names as they stand, so that nothing which only looks like the name passes for it,
  // and no other name stands beside it.
  if (HOST_NAME.test(host) && names === `URI:${hostUri(fleet, host)}`) return host;
  throw foreign(`${JSON.stringify(names)} is not one host of this fleet and nothing else`);
}

function foreign(why: string): BelayError {
  return new BelayError("certificate-foreign", `this is no certificate of a host of ours: ${why}`);
}
