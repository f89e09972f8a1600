import { generateKeyPairSync, type webcrypto } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, createServer as createTlsServer, type TlsOptions } from "node:tls";
import { type SocketEvents, socketError, systemHttp, webSocketDial } from "@belay/agent";
import { otherSerial, writeSerial } from "@belay/controller/identity/serial";
import * as x509 from "@belay/controller/identity/x509";
import { CLIENT_AUTH, SERVER_AUTH } from "@belay/shared";
import t, { type Test } from "tap";
import { IdentityScene, Line } from "./scene.js";

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;
type SocketEnd = Parameters<SocketEvents["closed"]>[0];

/** A certificate as nobody but a thief of the authority's key could make it, and its key. */
interface Forged {
  readonly serial?: string;
  readonly names: x509.JsonGeneralNames;
  readonly purposes: readonly string[];
  readonly isAuthority?: boolean;
  readonly notBeforeMs?: number;
  readonly lifeMs?: number;
}

/** The key of a belayd's authority, in the wrong hands. */
class Forger {
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.#certificate = certificate;
    this.#key = key;
  }

  static async open(scene: IdentityScene): Promise<Forger> {
    const kept = JSON.parse(await readFile(join(scene.authorityDir, "authorities.json"), "utf8"));
    const [name = ""] = (await readdir(scene.authorityDir)).filter((file) => file.endsWith(".key"));
    const pem = await readFile(join(scene.authorityDir, name), "utf8");
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
    const key = await crypto.subtle.importKey("pkcs8", der, ECDSA, false, ["sign"]);
    return new Forger(new x509.X509Certificate(kept.authorities[0].certificate), key);
  }

  async make({
    serial,
    names,
    purposes,
    isAuthority = false,
    notBeforeMs = -2 * DAY_MS,
    lifeMs = DAY_MS,
  }: Forged): Promise<{ cert: string; key: string }> {
    const { publicKey, privateKey } = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      publicKeyEncoding: { type: "spki", format: "der" },
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
    });
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial ?? otherSerial(),
      subject: [{ CN: ["forged"] }],
      issuer: this.#certificate.subjectName,
      notBefore: new Date(Date.now() + notBeforeMs),
      notAfter: new Date(Date.now() + lifeMs),
      signingAlgorithm: ECDSA,
      publicKey: await crypto.subtle.importKey("spki", publicKey, ECDSA, true, ["verify"]),
      signingKey: this.#key,
      extensions: [
        new x509.BasicConstraintsExtension(isAuthority, undefined, true),
        new x509.ExtendedKeyUsageExtension([...purposes], true),
        new x509.SubjectAlternativeNameExtension(names),
      ],
    });
    return { cert: `${certificate.toString("pem")}\n${this.#certificate.toString("pem")}\n`, key: privateKey };
  }
}

const uri = (value: string) => [{ type: "url" as const, value }];

interface FalseDoor {
  readonly base: string;
  readonly heard: readonly Buffer[];
  /** Somebody has shaken hands with it. */
  readonly shaken: Promise<void>;
}

/** Somebody who answers where belayd should, and what it hears. */
async function falseDoor(t: Test, options: TlsOptions): Promise<FalseDoor> {
  const heard: Buffer[] = [];
  let shook = () => {};
  const shaken = new Promise<void>((resolve) => {
    shook = resolve;
  });
  const server = createTlsServer({ minVersion: "TLSv1.3", ...options }, (socket) => {
    shook();
    socket.on("data", (bytes) => heard.push(bytes));
    socket.on("error", () => {});
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => void server.close());
  return { base: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, heard, shaken };
}

/** What it says of a dial, with this in place of what the host holds. */
async function knockWith(scene: IdentityScene, shown: Partial<ConnectionOptions>): Promise<string> {
  const { identity } = await scene.joined("auth-1");
  const tls = { ...identity.access().tls, ...shown } as ReturnType<typeof identity.access>["tls"];
  const line = await Line.open({ base: scene.base, access: () => ({ headers: {}, tls }) }, "node-1");
  line.end();
  return line.outcome;
}

t.test(
  "an agent's certificate accepted as a server's (the class of CVE-2021-37218): never, by three rules",
  async (t) => {
    const scene = await IdentityScene.open(t);
    const [host, other] = [await scene.joined("node-1"), await scene.joined("auth-1")];
    const forger = await Forger.open(scene);
    const stolen = other.identity.held;
    const names = [...uri("belay://acme/host/auth-1"), { type: "ip" as const, value: "127.0.0.1" }];
    const role = [...uri("belay://acme/controller"), { type: "ip" as const, value: "127.0.0.1" }];
    const chain = `${stolen?.certificate}\n${stolen?.authorities.join("\n")}`;
    const impostors: [what: string, shown: { cert: string; key: string }, why: RegExp][] = [
      ["a host's own", { cert: chain, key: stolen?.key ?? "" }, /unsuitable|purpose|unsupported/i],
      ["a host's, for servers too", await forger.make({ names, purposes: [CLIENT_AUTH, SERVER_AUTH] }), /not belayd's/],
      ["a host's, for servers alone", await forger.make({ names, purposes: [SERVER_AUTH] }), /not belayd's/],
      [
        "belayd's role, for clients too",
        await forger.make({ names: role, purposes: [CLIENT_AUTH, SERVER_AUTH] }),
        /not belayd's/,
      ],
      [
        "belayd's role hidden in another name",
        await forger.make({
          names: [
            { type: "dns", value: "x, URI:belay://acme/controller, DNS:y" },
            { type: "ip", value: "127.0.0.1" },
          ],
          purposes: [SERVER_AUTH],
        }),
        /not belayd's/,
      ],
      [
        "belayd's of another fleet",
        await forger.make({
          names: [...uri("belay://acme2/controller"), { type: "ip", value: "127.0.0.1" }],
          purposes: [SERVER_AUTH],
        }),
        /not belayd's/,
      ],
      [
        "belayd's for another address",
        await forger.make({
          names: [...uri("belay://acme/controller"), { type: "dns", value: "elsewhere" }],
          purposes: [SERVER_AUTH],
        }),
        /not in the cert/,
      ],
    ];
    for (const [what, shown, why] of impostors) {
      const door = await falseDoor(t, shown);
      const { tls } = host.identity.access();
      const line = await Line.open({ base: door.base, access: () => ({ headers: {}, tls }) }, "node-1");
      t.match(line.outcome, why, `the link: ${what}`);
      await t.rejects(systemHttp.text(`${door.base}/v1/artifacts/x`, { timeoutMs: 5_000, tls }), {
        code: /^http-|controller-false/,
      });
      t.same(door.heard, [], `nothing was said to ${what}`);
    }
    const belayd = await falseDoor(t, await forger.make({ names: role, purposes: [SERVER_AUTH] }));
    const { tls } = host.identity.access();
    await t.rejects(systemHttp.text(`${belayd.base}/`, { timeoutMs: 500, tls }));
    t.not(belayd.heard.length, 0, "these doors do hear what is said to them");
  },
);

t.test("a server's certificate accepted as a host's: never", async (t) => {
  const scene = await IdentityScene.open(t);
  await scene.joined("node-1");
  const forger = await Forger.open(scene);
  const serial = writeSerial({ generation: 1, sequence: 1 });
  const controller = uri("belay://acme/controller");
  t.equal(
    await knockWith(scene, await forger.make({ names: controller, purposes: [SERVER_AUTH], serial })),
    "denied 401",
  );
  t.equal(
    await knockWith(scene, await forger.make({ names: controller, purposes: [CLIENT_AUTH], serial })),
    "denied 401",
  );
  const host = uri("belay://acme/host/node-1");
  t.equal(await knockWith(scene, await forger.make({ names: host, purposes: [SERVER_AUTH], serial })), "denied 401");
  t.equal(
    await knockWith(scene, await forger.make({ names: host, purposes: [CLIENT_AUTH, SERVER_AUTH], serial })),
    "denied 401",
  );
  t.equal(
    await knockWith(scene, await forger.make({ names: host, purposes: [CLIENT_AUTH], isAuthority: true, serial })),
    "denied 401",
  );
  // So that it is the rules which refuse, and not the forger's clumsiness.
  t.equal(await knockWith(scene, await forger.make({ names: host, purposes: [CLIENT_AUTH], serial })), "welcome");
});

t.test("certificate names compared loosely: a name that only looks like a host's is nobody's", async (t) => {
  const scene = await IdentityScene.open(t);
  await scene.joined("node-1");
  const forger = await Forger.open(scene);
  const serial = writeSerial({ generation: 1, sequence: 1 });
  const tricks: x509.JsonGeneralNames[] = [
    ...[
      "belay://acme/host/Node-1",
      "BELAY://acme/host/node-1",
      "belay://ACME/host/node-1",
      "belay://acme/host/node-1.evil.example",
      "belay://acme/host/evil.node-1",
      "belay://acme/host/node-1/",
      "belay://acme/host/node-1 ",
      "belay://acme/host//node-1",
      "belay://acme/host/../host/node-1",
      "belay://acme/host/node%2D1",
      "belay://acme/host/node-1\u0000.evil.example",
      "belay://acme/host/node-1\n",
      "belay://acme/host/",
      "belay://acme/controller",
      "belay://acm/host/node-1",
      "belay://acme2/host/node-1",
      "belay://acme@evil.example/host/node-1",
      "https://acme/host/node-1",
    ].map(uri),
    [{ type: "dns", value: "node-1" }],
    [{ type: "email", value: "node-1@acme" }],
    [...uri("belay://acme/host/node-1"), ...uri("belay://acme/host/auth-1")],
    [...uri("belay://acme/host/node-1"), { type: "dns", value: "node-1" }],
    [],
  ];
  for (const names of tricks) {
    const shown = await forger.make({ names, purposes: [CLIENT_AUTH], serial });
    t.equal(await knockWith(scene, shown), "denied 401", JSON.stringify(names));
  }
  const real = await forger.make({ names: uri("belay://acme/host/node-1"), purposes: [CLIENT_AUTH], serial });
  t.equal(await knockWith(scene, real), "welcome");
});

t.test("a certificate says whose it is, and hello can't say otherwise", async (t) => {
  const scene = await IdentityScene.open(t);
  const host = await scene.joined("node-1");
  const line = await Line.open(host.identity, "auth-1");
  t.match(line.messages, [{ type: "refused", error: { code: "host-mismatch" }, retry: false }]);
});

t.test("another belayd's authority vouches for nobody here, in either direction", async (t) => {
  const [scene, other] = [await IdentityScene.open(t), await IdentityScene.open(t)];
  const [here, there] = [await scene.joined("node-1"), await other.joined("node-1")];
  const { cert, key } = there.identity.access().tls;
  t.equal(await knockWith(scene, { cert: cert as string, key: key as string }), "denied 401");
  const { tls } = here.identity.access();
  const line = await Line.open({ base: other.base, access: () => ({ headers: {}, tls }) }, "node-1");
  t.match(line.outcome, /self-signed|unable to|certificate/i);
});

t.test("with the wrong pin nothing is sent: not the token, not one byte", async (t) => {
  const scene = await IdentityScene.open(t);
  const other = await IdentityScene.open(t);
  const forger = await Forger.open(other);
  const shown = await forger.make({
    names: [...uri("belay://acme/controller"), { type: "ip", value: "127.0.0.1" }],
    purposes: [SERVER_AUTH],
  });
  const door = await falseDoor(t, shown);
  const host = await scene.host("node-1", await scene.token("node-1"), { base: door.base });
  await t.rejects(host.identity.join(), { code: "controller-unknown" });
  await door.shaken;
  t.same(door.heard, []);
  t.same(await readdir(host.dir), ["token"], "and no key was made");
});

t.test("the right authority's certificate is public: to show it is not to have its key", async (t) => {
  const scene = await IdentityScene.open(t);
  const { identity } = await scene.joined("auth-1");
  const [authority = ""] = identity.held?.authorities ?? [];
  const other = await Forger.open(await IdentityScene.open(t));
  const own = await other.make({
    names: [...uri("belay://acme/controller"), { type: "ip", value: "127.0.0.1" }],
    purposes: [SERVER_AUTH],
  });
  const [leaf = ""] = own.cert.split(/(?<=-----END CERTIFICATE-----\n)/);
  const door = await falseDoor(t, { key: own.key, cert: leaf + authority });
  const host = await scene.host("node-1", await scene.token("node-1"), { base: door.base });
  await t.rejects(host.identity.join(), { code: /controller-unknown|controller-unreachable/ });
  t.same(door.heard, []);
});

t.test("a certificate that is not valid at this host's time lets a person look at its clock", async (t) => {
  const scene = await IdentityScene.open(t);
  const names = [...uri("belay://acme/controller"), { type: "ip" as const, value: "127.0.0.1" }];
  const forger = await Forger.open(scene);
  const { identity } = await scene.joined("auth-1");
  for (const [life, message] of [
    [{ notBeforeMs: DAY_MS / 2 }, /not yet valid/],
    [{ lifeMs: -1_000 }, /expired/],
  ] as const) {
    const { base } = await falseDoor(t, await forger.make({ names, purposes: [SERVER_AUTH], ...life }));
    const host = await scene.host("node-1", await scene.token("node-1"), { base });
    await t.rejects(host.identity.join(), { code: "controller-unreachable", message, hint: /timedatectl/ });
    const closed = new Promise<SocketEnd>((resolve) => {
      const dial = webSocketDial({ base, access: () => identity.access() });
      dial({ opened: () => {}, text: () => {}, heard: () => {}, closed: resolve });
    });
    t.match(socketError(await closed), { code: "link-failed", message, hint: /timedatectl/ });
  }
  const nobody = await scene.host("node-1", await scene.token("node-1"), { base: "https://127.0.0.1:1" });
  await t.rejects(nobody.identity.join(), { code: "controller-unreachable", hint: /belayd is up/ });
});

t.test("whoever answers at the address and says nothing, or no TLS, is told of", async (t) => {
  const scene = await IdentityScene.open(t);
  const server = createServer((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => void server.close());
  const base = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const host = await scene.host("node-1", await scene.token("node-1"), { base });
  await t.rejects(host.identity.join(), { code: "controller-unreachable" });
  t.match(await host.identity.prepare(), { kind: "unreachable" });
});
