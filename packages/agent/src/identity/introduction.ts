import { createHash, type KeyObject, X509Certificate } from "node:crypto";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { AGENTS_SERVER_NAME, BelayError } from "@belay/shared";

const TIMEOUT_MS = 15_000;
/** belayd sends two. */
const MAX_CHAIN = 10;

/**
 * Looks at the certificates that whoever answers at `base` shows, sends not one byte to it, and gives the authority among
 * them that has this pin (PEM). That somebody shows it proves nothing: the next connection does, which believes it alone.
 * Throws `controller-unknown` where there is none, or `controller-unreachable`.
 */
export async function findAuthority(base: string, pin: string): Promise<string> {
  const shown = await chainAt(base);
  const found = shown.find((certificate) => certificate.ca && pinOf(certificate.publicKey) === pin);
  if (found !== undefined) return found.toString();
  throw new BelayError("controller-unknown", `whoever answers at ${base} doesn't know the authority of this token`, {
    hint: "see that `controller` in agent.yaml leads to the belayd that made the token; nothing was sent",
    context: { pin },
  });
}

/** SHA-256 of a public key's SubjectPublicKeyInfo, hex. */
export function pinOf(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("hex");
}

function chainAt(base: string): Promise<X509Certificate[]> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port || 443),
      servername: AGENTS_SERVER_NAME,
      minVersion: "TLSv1.3",
      // Nobody is believed yet, and nothing is said.
      rejectUnauthorized: false,
    });
    const fail = (cause: Error) => {
      socket.destroy();
      reject(
        new BelayError("controller-unreachable", `${base}: ${cause.message}`, {
          hint: "see that belayd is up, and that `controller` in agent.yaml leads to its `tls` door",
          cause,
        }),
      );
    };
    socket.setTimeout(TIMEOUT_MS, () => fail(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    socket.once("error", fail);
    socket.once("secureConnect", () => {
      const chain = certificatesFrom(socket.getPeerCertificate(true));
      // In order, so that the other end doesn't take it for a fault; whoever keeps it open all the same is cut off by the timer.
      socket.end();
      socket.resume();
      resolve(chain);
    });
  });
}

function certificatesFrom(first: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<string>();
  let next: DetailedPeerCertificate | undefined = first;
  while (next?.raw !== undefined && !seen.has(next.fingerprint256) && chain.length < MAX_CHAIN) {
    seen.add(next.fingerprint256);
    chain.push(new X509Certificate(next.raw));
    next = next.issuerCertificate;
  }
  return chain;
}
