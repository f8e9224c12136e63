-- report_photo --
-- A photo by whoever has ticket and code.
SELECT report_photo_kept(:ticket, CAST(:hashes AS bytea[]), :id, :kind, :digest, :file, :file_key, :size, :width, :height);

-- incident_photo --
-- A photo by whoever works with the case.
SELECT incident_photo_kept(CAST(:incident AS uuid), CAST(:number AS integer), :id, :kind, :digest, :file, :file_key, :size, :width, :height);

-- photo --
-- One photo, for who may see it.
SELECT id, incident, released, digest, file, file_key, size FROM photo_told(CAST(:id AS uuid));

-- photos --
-- Those of a case that the caller may see.
SELECT id, number, kind, width, height, at, by_reporter, released_at FROM photos_told(CAST(:incident AS uuid));

-- photo_decided --
-- Released, withheld again, or given up.
SELECT photo_decided(CAST(:id AS uuid), :decision);

-- photo_files_kept --
-- Which of these files belong to a photo.
SELECT * FROM photo_files_kept(CAST(:names AS text[]));
