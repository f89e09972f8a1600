import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { type SocketEvents, systemHttp, webSocketDial } from "@belay/agent";
import { decodeControllerMessage, encode, type Hello, PROTOCOL } from "@belay/shared";
import t, { type Test } from "tap";
import { type Certificate, makeCertificate } from "../support/certificates.js";
import { HttpScene } from "./scene.js";

interface TlsScene {
  readonly scene: HttpScene;
  readonly address: string;
  readonly made: Certificate;
  readonly ca: Buffer;
}

async function open(t: Test, names = ["IP:127.0.0.1"]): Promise<TlsScene> {
  const dir = await mkdtemp(join(tmpdir(), "belay-tls-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const made = await makeCertificate(dir, names);
  const { certificate, key } = made;
  const scene = await HttpScene.open(t, `tls: { listen: "127.0.0.1:0", certificate: ${certificate}, key: ${key} }`);
  const address = scene.daemon.tlsAddress;
  if (address === null) throw new Error("no door was opened");
  return { scene, address, made, ca: await readFile(made.ca) };
}

const HELLO: Hello = {
  type: "hello",
  protocol: PROTOCOL.newest,
  host: "node-1",
  agentVersion: "0.1.0",
  journal: "0123456789abcdef",
  open: [],
};

function socketEnd(end: Parameters<SocketEvents["closed"]>[0]): string {
  return end.kind === "failed" ? end.error.message : end.kind === "denied" ? `denied: ${end.status}` : end.kind;
}

/** How one dial ends, or that it was welcomed. */
async function dial(base: string, token: string, ca: Buffer | null): Promise<string> {
  return new Promise((resolve) => {
    const socket = webSocketDial({ base, token, ca })({
      opened: () => socket.send(encode(HELLO)),
      text: (frame) => {
        resolve(decodeControllerMessage(frame).type);
        socket.terminate();
      },
      heard: () => {},
      closed: (end) => resolve(socketEnd(end)),
    });
  });
}

t.test("agents and people come in over TLS by the rules of the first door", async (t) => {
  const { scene, address, ca } = await open(t);
  const token = await scene.tokenOf("node-1");
  t.equal(await dial(address, token, ca), "welcome");
  const status = (bearer: string) =>
    systemHttp.text(`${address}/v1/status`, { timeoutMs: 5_000, ca, headers: { authorization: `Bearer ${bearer}` } });
  t.equal((await status(scene.token)).status, 200);
  t.equal((await status("x".repeat(32))).status, 401);
  t.match(await dial(address, "x".repeat(32), ca), /denied: 401/);
});

t.test("an agent gives its token to nobody whom its authority doesn't vouch for", async (t) => {
  const { scene, address } = await open(t);
  const token = await scene.tokenOf("node-1");
  const dir = await mkdtemp(join(tmpdir(), "belay-tls-"));
  t.teardown(() => rm(dir, { recursive: true }));
  await mkdir(join(dir, "other"));
  const other = await makeCertificate(join(dir, "other"), ["IP:127.0.0.1"]);
  t.match(await dial(address, token, await readFile(other.ca)), /self-signed|unable to verify|certificate/i);
  t.match(await dial(address, token, null), /self-signed|unable to verify|certificate/i);
});

t.test("a certificate for another name is refused, loopback or not", async (t) => {
  const { scene, address, ca } = await open(t, ["DNS:elsewhere.internal"]);
  const token = await scene.tokenOf("node-1");
  t.match(await dial(address, token, ca), /IP: 127\.0\.0\.1 is not in the cert/);
  const asked = systemHttp.text(`${address}/v1/status`, { timeoutMs: 5_000, ca });
  await t.rejects(asked, { code: "http-unreachable", message: /not in the cert/ });
});

t.test("nothing older than TLS 1.3 is spoken, and nothing in the clear", async (t) => {
  const { address, ca } = await open(t);
  const port = Number(new URL(address).port);
  const old = connect({ host: "127.0.0.1", port, ca, maxVersion: "TLSv1.2" });
  const [error] = (await once(old, "error")) as [Error];
  t.match(error.message, /protocol version|alert/i);
  await t.rejects(fetch(`http://127.0.0.1:${port}/v1/status`));
});

t.test("belayd stops though somebody keeps a connection of the second door open", async (t) => {
  const { scene, address, ca } = await open(t);
  const request = get(`${address}/v1/nothing`, { ca, agent: false });
  const idle = connect({ host: "127.0.0.1", port: Number(new URL(address).port), ca });
  idle.on("error", () => {});
  await Promise.all([once(request, "response"), once(idle, "secureConnect")]);
  await scene.daemon.stop();
  t.pass("stopped");
});

t.test("files that are no certificate, or not there, are named", async (t) => {
  const { scene, made } = await open(t);
  const broken = join(scene.dir, "fleet.yaml");
  await t.rejects(HttpScene.open(t, `tls: { listen: "127.0.0.1:0", certificate: ${broken}, key: ${made.key} }`), {
    code: "certificate-invalid",
    message: /fleet\.yaml/,
  });
  await t.rejects(HttpScene.open(t, `tls: { listen: "127.0.0.1:0", certificate: /nowhere.pem, key: ${made.key} }`), {
    code: "certificate-unreadable",
    message: /nowhere\.pem/,
  });
});
