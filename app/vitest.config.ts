import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/globalSetup.ts"],
    // Much of a test's time is spent waiting for servers and processes.
    maxWorkers: 3,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      // Entry points run as processes of their own in the tests, where coverage is not counted.
      exclude: ["src/server.ts", "src/worker.ts", "src/migrate.ts", "src/cli/*.ts"],
      thresholds: { lines: 90, branches: 80 },
      reporter: ["text-summary"],
    },
  },
});
