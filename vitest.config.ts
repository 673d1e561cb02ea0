import { defineConfig } from "vitest/config";

/** What runs for minutes says in one line what it found, not how long the line would be. */
const chaiConfig = { truncateThreshold: 2_000 };

export default defineConfig({
  test: {
    // The default leaves one of two processors idle.
    maxWorkers: "100%",
    projects: [
      // Loading the modules takes longer than running most of these files, so they share them: what replaces one is not here.
      {
        test: {
          name: "unit",
          include: ["tests/{unit,local}/**/*.test.ts"],
          isolate: false,
          unstubEnvs: true,
          // Some start servers and programs, which a busy machine takes its time for.
          testTimeout: 20_000,
        },
      },
      { test: { name: "mocked", include: ["tests/mocked/**/*.test.ts"], testTimeout: 20_000 } },
      {
        test: {
          name: "engine",
          chaiConfig,
          include: ["tests/engine/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "cluster",
          chaiConfig,
          include: ["tests/cluster/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "chaos",
          chaiConfig,
          include: ["tests/chaos/**/*.test.ts"],
          testTimeout: 1_800_000,
          fileParallelism: false,
        },
      },
    ],
    coverage: {
      provider: "v8",
      include: ["index.ts", "components/**/*.ts"],
      thresholds: { lines: 80, functions: 80, branches: 80, statements: 80 },
    },
  },
});
