import { parseConfig } from "@belay/controller/config";
import t from "tap";

const read = (text: string) => parseConfig(text, "/etc/belay/belayd.yaml");

t.test("an empty file is a whole configuration", async (t) => {
  t.match(read(""), {
    listen: { host: "127.0.0.1", port: 7440 },
    dataDir: "/var/lib/belay",
    fleet: "/etc/belay/fleet.yaml",
    releases: null,
    apiTokenFile: "/var/lib/belay/api-token",
  });
});

t.test("paths are relative to the file's own folder", async (t) => {
  t.match(read("dataDir: data\nfleet: ../fleet.yaml"), { dataDir: "/etc/belay/data", fleet: "/etc/fleet.yaml" });
});

t.test("belayd refuses to listen beyond loopback", async (t) => {
  for (const listen of ["0.0.0.0:7440", "[::]:7440", "10.0.0.1:1", "example.org:7440", "127.evil.org:1"]) {
    t.throws(() => read(`listen: "${listen}"`), { code: "listen-refused", hint: /127\.0\.0\.1/ }, listen);
  }
  for (const listen of ["127.0.0.1:1", "127.8.8.8:1", "[::1]:7440", "localhost:0"])
    t.doesNotThrow(() => read(`listen: "${listen}"`));
});

t.test("the door over TLS is for any address, and needs no certificate", async (t) => {
  t.equal(read("").tls, null);
  t.same(read('tls: { listen: "0.0.0.0:7443", certificate: tls/cert.pem, key: /etc/ssl/key.pem }').tls, {
    listen: { host: "0.0.0.0", port: 7443 },
    names: null,
    owners: { certificate: "/etc/belay/tls/cert.pem", key: "/etc/ssl/key.pem" },
  });
  t.match(read('tls: { listen: "0.0.0.0:7443", names: [belay.internal] }').tls, {
    names: ["belay.internal"],
    owners: null,
  });
  t.throws(() => read('tls: { listen: "0.0.0.0:7443", names: ["a b"] }'), { code: "config-invalid", message: /names/ });
  for (const half of ["certificate: a", "key: b"]) {
    t.throws(() => read(`tls: { listen: "0.0.0.0:7443", ${half} }`), {
      code: "config-invalid",
      message: /certificate and key go together/,
    });
  }
  t.throws(() => read('tls: { listen: "0.0.0.0:70000", certificate: a, key: b }'), {
    code: "config-invalid",
    message: /tls\.listen.*70000/,
  });
});

t.test("errors name the file, and the field or the line", async (t) => {
  t.throws(() => read("listen: [1"), { code: "config-invalid", message: /^\/etc\/belay\/belayd\.yaml:1: / });
  t.throws(() => read("logLevel: loud"), { code: "config-invalid", message: /belayd\.yaml: .*\/logLevel/ });
  t.throws(() => read("fleat: x"), { code: "config-invalid", message: /belayd\.yaml/ });
  t.throws(() => read("- 1"), { code: "config-invalid" });
  t.throws(() => read('listen: "127.0.0.1:99999"'), { code: "config-invalid", message: /99999/ });
});

t.test("an authority is brought along whole, and tokens in the clear are off unless they are named", async (t) => {
  t.match(read(""), { identity: { given: null, hostCertificateMs: 604_800_000 }, plaintextTokens: false });
  t.same(read("identity: { caCertificate: ca.pem, caKey: /etc/ca.key }").identity.given, {
    certificate: "/etc/belay/ca.pem",
    key: "/etc/ca.key",
  });
  t.throws(() => read("identity: { caCertificate: ca.pem }"), { code: "config-invalid", message: /identity: caCert/ });
  t.throws(() => read("identity: { hostCertificateSeconds: 1 }"), { code: "config-invalid" });
});
