import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { HostIdentity, silentLogger, systemClock, systemHttp } from "@belay/agent";
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

function statusAt(address: string, token: string, ca: Buffer) {
  const headers = { authorization: `Bearer ${token}` };
  return systemHttp.text(`${address}/v1/status`, { timeoutMs: 5_000, ca, headers });
}

t.test("people come in over TLS by the rules of the first door, by the certificate of its owner", async (t) => {
  const { scene, address, ca } = await open(t);
  t.equal((await statusAt(address, scene.token, ca)).status, 200);
  t.equal((await statusAt(address, "x".repeat(32), ca)).status, 401);
});

t.test("agents are shown belayd's own certificate at the same door, and believe no other", async (t) => {
  const { scene, address, made } = await open(t);
  const token = (await scene.call("POST", "/v1/agents/tokens", { body: { host: "node-1" } })).body.token as string;
  const dir = await mkdtemp(join(tmpdir(), "belay-tls-"));
  t.teardown(() => rm(dir, { recursive: true }));
  await writeFile(join(dir, "token"), token);
  const identity = await HostIdentity.open({
    base: address,
    host: "node-1",
    stateDir: dir,
    tokenFile: join(dir, "token"),
    clock: systemClock,
    random: () => 0.5,
    log: silentLogger,
  });
  const { authorities } = await identity.join();
  t.notOk(authorities.includes(await readFile(made.ca, "utf8")), "the owner's authority is none of theirs");
  const { tls } = identity.access();
  t.equal((await systemHttp.text(`${address}/v1/artifacts/${"a".repeat(64)}`, { timeoutMs: 5_000, tls })).status, 404);
  const asked = systemHttp.text(`${address}/v1/status`, {
    timeoutMs: 5_000,
    tls: { ...tls, servername: "belay.internal" },
  });
  await t.rejects(asked, { code: "http-unreachable" }, "by another name the owner's is shown");
});

t.test("a token in the clear is nobody's over TLS", async (t) => {
  const { scene, address, ca } = await open(t);
  const path = `/v1/artifacts/${"a".repeat(64)}`;
  const token = await scene.tokenOf("node-1");
  t.match(await scene.call("GET", path, { token }), { status: 404 });
  const headers = { authorization: `Bearer ${token}` };
  t.equal((await systemHttp.text(`${address}${path}`, { timeoutMs: 5_000, ca, headers })).status, 401);
});

t.test("a certificate for another name is refused, loopback or not", async (t) => {
  const { address, ca } = await open(t, ["DNS:elsewhere.internal"]);
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
