import { X509Certificate } from "node:crypto";
import { type ConnectionOptions, checkServerIdentity, type PeerCertificate } from "node:tls";
import { AGENTS_SERVER_NAME, BelayError, controllerUri, SERVER_AUTH } from "@belay/shared";

/** How a connection to belayd is made over TLS: whom it believes, and what it shows. */
export type TlsAccess = Pick<
  ConnectionOptions,
  "ca" | "cert" | "key" | "minVersion" | "servername" | "checkServerIdentity" | "allowPartialTrustChain"
>;

/**
 * Believes belayd and nobody else: a chain to one of these authorities, made for a server by OpenSSL's own rules, for the
 * name or address that is dialled, and in the role of this fleet's controller. A host's certificate is never taken for it.
 */
export function believing(authorities: readonly string[], fleet: string, base: string): TlsAccess {
  const dialled = new URL(base).hostname.replace(/^\[|\]$/g, "");
  return {
    ca: [...authorities],
    allowPartialTrustChain: true,
    minVersion: "TLSv1.3",
    servername: AGENTS_SERVER_NAME,
    // The server name only says which certificate to show; what must be in it is what agent.yaml names.
    checkServerIdentity: (_asked, certificate) =>
      checkServerIdentity(dialled, certificate) ?? wrongRole(certificate, fleet),
  };
}

const OF_ANOTHER_TIME: ReadonlySet<unknown> = new Set(["CERT_NOT_YET_VALID", "CERT_HAS_EXPIRED"]);

/** What to do where a certificate was refused for its time alone; undefined: it was not. */
export function clockHint(error: unknown): string | undefined {
  if (!OF_ANOTHER_TIME.has((error as NodeJS.ErrnoException).code)) return undefined;
  return "see whether this host's clock is right (timedatectl), and belayd's: its certificate isn't valid at the time that it is here";
}

/** Why this is not belayd's certificate, though our authority issued it; undefined: it is. */
function wrongRole({ raw }: PeerCertificate, fleet: string): Error | undefined {
  const certificate = new X509Certificate(raw);
  const purposes = certificate.keyUsage ?? [];
  const uris = namesIn(certificate).filter(({ type }) => type === "URI");
  const isBelayd = uris.length === 1 && uris[0]?.value === controllerUri(fleet);
  if (isBelayd && purposes.length === 1 && purposes[0] === SERVER_AUTH) return undefined;
  return new BelayError(
    "controller-false",
    `the certificate is not belayd's: ${certificate.subjectAltName ?? "no name"}`,
    {
      hint: "somebody with another certificate of this fleet answers where belayd should: look who that is",
    },
  );
}

interface CertificateName {
  readonly type: string;
  readonly value: string;
}

/** One name as Node writes it; a value with anything unusual in it is in quotes, so that it can't pass for several. */
const NAME = /(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)/y;

/** The alternative names of a certificate. None at all where they can't be told apart for sure. */
export function namesIn({ subjectAltName: text = "" }: Pick<X509Certificate, "subjectAltName">): CertificateName[] {
  const names: CertificateName[] = [];
  NAME.lastIndex = 0;
  for (let at = 0; at < text.length; at = NAME.lastIndex) {
    NAME.lastIndex = at;
    const [, type, value] = NAME.exec(text) ?? [];
    if (type === undefined || value === undefined) return [];
    names.push({ type, value });
  }
  return names;
}
