/**
 * Server settings that follow from the memory limit, as PostgreSQL's manual (19.4 Resource Consumption) advises:
 * a quarter for shared buffers; the rest is the kernel's cache, and what the connections' sorts may take of it.
 */
export function memorySettings(memoryMiB: number, maxConnections: number): Record<string, string> {
  const sharedBuffersMiB = Math.floor(memoryMiB / 4);
  const maintenanceMiB = Math.max(16, Math.floor(memoryMiB / 16));
  // A query may use work_mem several times over; three is pgtune's rule of thumb.
  const workMemKiB = Math.max(
    1024,
    Math.floor(((memoryMiB - sharedBuffersMiB) * 1024) / (maxConnections * 3)),
  );
  return {
    shared_buffers: `${sharedBuffersMiB}MB`,
    effective_cache_size: `${Math.floor((memoryMiB * 3) / 4)}MB`,
    maintenance_work_mem: `${maintenanceMiB}MB`,
    autovacuum_work_mem: `${maintenanceMiB}MB`,
    work_mem: `${workMemKiB}kB`,
  };
}
