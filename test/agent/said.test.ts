import { whatWasSaid } from "@belay/agent";
import t from "tap";

t.test("what looks like a secret is not told on; what helps to understand the rest is", async (t) => {
  const cases: readonly (readonly [said: string, told: string])[] = [
    [
      "could not connect to postgres://teleport:hunter2@db.internal:5432/teleport?sslmode=require",
      "could not connect to postgres://teleport:(hidden)@db.internal:5432/teleport?sslmode=require",
    ],
    ["redis://:hunter2@127.0.0.1/0: refused", "redis://:(hidden)@127.0.0.1/0: refused"],
    ["it was cut at postgres://teleport:hunt", "it was cut at postgres://teleport:(hidden)"],
    [
      "no answer from http://127.0.0.1:2379\nand https://db:443/x",
      "no answer from http://127.0.0.1:2379\nand https://db:443/x",
    ],
    ["PGPASSWORD=hunter2 pg_dump: no such host", "PGPASSWORD=(hidden) pg_dump: no such host"],
    ['{"aws_secret_access_key": "hunter2", "region": "eu"}', '{"aws_secret_access_key": (hidden), "region": "eu"}'],
    ["api-key: 'hunter 2'; retry", "api-key: (hidden); retry"],
    ["token=hunter2&user=ann", "token=(hidden)&user=ann"],
    ["> Authorization: Bearer hunter2.hunter2.hunter2", "> Authorization: Bearer (hidden)"],
    ["-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----\nis not a key", "(hidden)\nis not a key"],
    ["-----BEGIN PRIVATE KEY-----\nhunter2, and then it was cut", "(hidden)"],
    [
      "https://db.internal/path: 403 for user ann@acme.example",
      "https://db.internal/path: 403 for user ann@acme.example",
    ],
    ["the token has expired", "the token has expired"],
  ];
  for (const [said, told] of cases) t.equal(whatWasSaid(said), told);
});

t.test("of much, the end is told: there it says why", async (t) => {
  t.equal(whatWasSaid(`${"usage: ...\n".repeat(10_000)}no such bucket\n`, 14), "no such bucket");
});
