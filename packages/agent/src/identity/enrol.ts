import { createPublicKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect, type TLSSocket } from "node:tls";
import {
  BelayError,
  BINDING_BYTES,
  BINDING_LABEL,
  CLIENT_AUTH,
  decoder,
  ErrorInfo,
  hostUri,
  Issued,
  type JoinRequest,
  proofText,
  type RenewRequest,
} from "@belay/shared";
import Type from "typebox";
import { clockHint, namesIn, type TlsAccess } from "./peer.js";

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 256 * 1024;
const decodeIssued = decoder(Issued, "belayd's answer", "answer-malformed");
const decodeRefusal = decoder(Type.Object({ error: ErrorInfo }), "belayd's answer", "answer-malformed");

/** Who asks, and how belayd is reached. */
export interface Asking {
  readonly base: string;
  readonly tls: TlsAccess;
  readonly fleet: string;
  readonly host: string;
  /** The new key. */
  readonly key: KeyObject;
}

export function makeKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

export function pemOf(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** The first certificate, by a token's secret. Throws belayd's own refusal, or `controller-unreachable`. */
export function join(asking: Asking, secret: string): Promise<Issued> {
  const { host } = asking;
  return ask(asking, "join", (proven): JoinRequest => ({ secret, host, ...proven }));
}

/** The next one, over a connection that shows the one before. Throws as `join` does. */
export function renew(asking: Asking): Promise<Issued> {
  return ask(asking, "renew", (proven): RenewRequest => proven);
}

/** Shows a certificate, so that belayd knows it has arrived. Throws as `join` does. */
export async function show(asking: Pick<Asking, "base" | "tls">): Promise<void> {
  const socket = await dial(asking);
  await post(socket, asking.base, "show", {});
}

async function ask(
  asking: Asking,
  purpose: "join" | "renew",
  requestOf: (proven: { key: string; proof: string }) => object,
): Promise<Issued> {
  const { base, fleet, host } = asking;
  const key = createPublicKey(asking.key).export({ type: "spki", format: "der" }).toString("base64");
  const socket = await dial(asking);
  const binding = socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, Buffer.alloc(0)).toString("base64");
  const text = proofText({ purpose, fleet, host, key, binding });
  const proof = sign("sha256", Buffer.from(text), asking.key).toString("base64");
  const issued = decodeIssued(await post(socket, base, purpose, requestOf({ key, proof })));
  mustFit(issued, asking);
  return issued;
}

/** What belayd gives out is looked at before it takes the place of what works. */
function mustFit({ certificate, authorities }: Issued, { fleet, host, key }: Asking): void {
  const x509 = new X509Certificate(certificate);
  const names = namesIn(x509);
  const isOurs = names.length === 1 && names[0]?.type === "URI" && names[0].value === hostUri(fleet, host);
  const vouched = authorities.some((pem) => x509.verify(new X509Certificate(pem).publicKey));
  if (isOurs && vouched && x509.checkPrivateKey(key) && x509.keyUsage?.join() === CLIENT_AUTH) return;
  throw new BelayError("answer-malformed", "belayd gave out a certificate that is not for this host and this key", {
    hint: "see belayd's log; what this host had before is kept",
  });
}

/** Settles when belayd is known for sure; only then is there anything to write to. */
async function dial({ base, tls }: Pick<Asking, "base" | "tls">): Promise<TLSSocket> {
  const { hostname, port } = new URL(base);
  const socket = connect({ ...tls, host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 443) });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  try {
    await once(socket, "secureConnect");
    return socket;
  } catch (error) {
    socket.destroy();
    throw unreachable(base, error);
  }
}

async function post(socket: TLSSocket, base: string, route: string, body: object): Promise<unknown> {
  const text = JSON.stringify(body);
  const asked = request({
    createConnection: () => socket,
    method: "POST",
    path: `/v1/agents/${route}`,
    headers: {
      host: new URL(base).host,
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
      connection: "close",
    },
  });
  try {
    asked.end(text);
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    const said = await textOf(answer);
    if (answer.statusCode === 200) return JSON.parse(said);
    throw refusalIn(said, answer.statusCode ?? 0);
  } catch (error) {
    throw error instanceof BelayError ? error : unreachable(base, error);
  } finally {
    // What a connection that is given up still has to complain of is nobody's business any more.
    asked.on("error", () => {});
    socket.destroy();
  }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    text += chunk.toString("utf8");
    if (text.length > MAX_ANSWER_BYTES) throw new Error(`more than ${MAX_ANSWER_BYTES} bytes of an answer`);
  }
  return text;
}

function refusalIn(text: string, status: number): BelayError {
  const busy = status >= 500 || status === 429 || status === 408;
  if (!busy) {
    try {
      return BelayError.from(decodeRefusal(JSON.parse(text)).error);
    } catch {
      // Not belayd's words: the same complaint as below.
    }
  }
  return new BelayError("controller-unreachable", `belayd answers ${status}`, { hint: "see belayd's log" });
}

function unreachable(base: string, cause: unknown): BelayError {
  if (cause instanceof BelayError) return cause;
  return new BelayError("controller-unreachable", `${base}: ${(cause as Error).message}`, {
    hint:
      clockHint(cause) ??
      "see that belayd is up, that `controller` in agent.yaml leads to it, and that `tls.names` in belayd.yaml has that name",
    cause,
  });
}
