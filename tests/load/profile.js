// What `make load PROFILE=…` does to the service: users who read, write and search, through the edge, with targets.
import { check, sleep } from "k6";
import http from "k6/http";

// Concurrent users and how long; `expected` is what the service is made for.
const profiles = {
  smoke: { vus: 2, duration: "30s" },
  expected: { vus: 20, duration: "5m" },
  "ten-times": { vus: 200, duration: "10m" },
  soak: { vus: 20, duration: "48h" },
};
const profile = profiles[__ENV.PROFILE];

export const options = {
  vus: profile.vus,
  duration: __ENV.DURATION || profile.duration,
  thresholds: { http_req_failed: ["rate<0.001"], http_req_duration: ["p(95)<500"], checks: ["rate>0.999"] },
};

export default function () {
  const params = {
    headers: {
      Authorization: `Bearer ${__ENV.TOKEN}`,
      "Content-Type": "application/json",
      // Each user an address, and so a rate limit, of their own: the edge believes it from this machine only.
      "X-Forwarded-For": `2001:db8:10ad::${__VU.toString(16)}`,
    },
  };
  const documents = `${__ENV.BASE_URL}/api/v1/documents`;
  const listed = http.get(`${documents}?limit=20`, { ...params, tags: { name: "list" } });
  check(listed, { "a list is answered with 200": ({ status }) => status === 200 });
  sleep(0.5);
  // One in ten writes.
  if (__ITER % 10 === 0) {
    const body = JSON.stringify({ title: "load", content: `${__VU} ${__ITER}` });
    const written = http.post(documents, body, { ...params, tags: { name: "write" } });
    check(written, { "a document is answered with 201": ({ status }) => status === 201 });
    sleep(0.5);
  }
}
