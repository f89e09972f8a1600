import t from "tap";
import { mayShareBackend, minClientVersion, upgradePath, whyRefused } from "../support/standin/src/compat.js";

const node = (version: string) => ({ name: "node-1", roles: ["node"], version });
const proxy = (version: string) => ({ name: "proxy-1", roles: ["proxy"], version });
const leaf = (version: string) => ({ name: "eu", roles: ["leaf"], version });

t.test("a server serves its own major and the one behind it (I1)", async (t) => {
  t.equal(whyRefused(node("6.0.0"), "6.7.0", []), null);
  t.equal(whyRefused(node("6.7.0"), "6.1.0", []), null, "minors of one major work together, both ways");
  t.equal(whyRefused(node("5.4.2"), "6.1.0", []), null);
  t.match(whyRefused(node("7.0.0"), "6.9.9", []), /newer than auth/);
  t.match(whyRefused(proxy("7.0.0"), "6.9.9", []), /newer than auth/);
  t.match(whyRefused(node("4.4.0"), "6.0.0", []), /more than one major behind/);
  t.equal(minClientVersion("6.2.31"), "5.0.0");
});

t.test("a node is never ahead of a proxy, unless it is the proxy (I1)", async (t) => {
  t.match(whyRefused(node("6.0.0"), "6.0.0", [proxy("6.0.0"), proxy("5.4.2")]), /newer than proxy proxy-1 \(5\.4\.2\)/);
  t.equal(whyRefused(node("6.5.0"), "6.5.0", [proxy("6.0.0")]), null);
  const both = { name: "box", roles: ["proxy", "node"], version: "6.0.0" };
  t.equal(whyRefused(both, "6.0.0", [proxy("5.4.2")]), null);
});

t.test("a leaf is never ahead of its root, and at most one major behind (I2)", async (t) => {
  t.equal(whyRefused(leaf("6.0.0"), "6.2.0", []), null);
  t.equal(whyRefused(leaf("5.4.2"), "6.2.0", []), null);
  t.match(whyRefused(leaf("7.0.0"), "6.2.0", []), /ahead of its root/);
  t.match(whyRefused(leaf("4.0.0"), "6.2.0", []), /more than one major behind its root/);
});

t.test("a backend is taken one major at a time (I3)", async (t) => {
  t.equal(upgradePath("5.0.0", "5.4.2"), "same");
  t.equal(upgradePath("5.4.2", "5.0.0"), "same");
  t.equal(upgradePath("5.4.2", "6.0.0"), "migrate");
  t.equal(upgradePath("5.4.2", "7.0.0"), "unsupported");
  t.equal(upgradePath("6.0.0", "5.4.2"), "unsupported");
});

t.test("two majors share a backend only from 18 on, and only neighbours (I5)", async (t) => {
  t.equal(mayShareBackend("6.0.0", "6.9.0"), true);
  t.equal(mayShareBackend("6.0.0", "5.4.2"), false);
  t.equal(mayShareBackend("17.7.0", "18.0.0"), true);
  t.equal(mayShareBackend("17.0.0", "16.0.0"), false);
  t.equal(mayShareBackend("17.0.0", "19.0.0"), false);
});
