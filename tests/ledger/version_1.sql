-- The ledger of a job that batchproc made when its tables had version 1, as `iterdump` of Python's sqlite3 writes it.
-- Two runs of a list with base_url http://127.0.0.1:8000/, the steps min_size 32 x 32, resize [48, 48] and one of the
-- user's own; /gone.png left the list before the second run. Host, pid, boot and the list's fingerprint were taken out.
CREATE TABLE host (name TEXT PRIMARY KEY, not_before REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE item (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, line INTEGER NOT NULL, url TEXT NOT NULL,
  extra_json TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, due INTEGER NOT NULL, runs INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0, last_run INTEGER, plan INTEGER, stage TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  before_absent TEXT, temporary TEXT, suffix TEXT, stale_suffix TEXT, status_code INTEGER, final_url TEXT, etag TEXT,
  last_modified TEXT, size_bytes INTEGER, width_px INTEGER, height_px INTEGER, original_width_px INTEGER,
  original_height_px INTEGER, original_format TEXT, sha256 BLOB, source_sha256 BLOB);
INSERT INTO "item" VALUES(1,X'12237DE60872A509013439F40D352BAA',2,'http://127.0.0.1:8000/a.png','{"label": "cat"}','done',0,1,1,1,1,'','','','',NULL,NULL,'.jpg',NULL,200,NULL,'"a-1"','Wed, 21 Oct 2015 07:28:00 GMT',654,48,32,96,64,'PNG',X'09446EBAC5E7A6DF024C1E5857A1413127AA7D4765EDD1AF4D93567F7AD7B19D',X'D10E88E72F47362E9B095C35198B199BE1EE04A1854768572E851333379CC55A');
INSERT INTO "item" VALUES(2,X'94D21B94D35FB8E71914E7990A91B32E',3,'http://127.0.0.1:8000/b.png','{"label": "dog"}','done',0,1,1,1,1,'','','','',NULL,NULL,'.jpg',NULL,200,NULL,'"b-1"','Wed, 21 Oct 2015 07:28:00 GMT',654,32,48,64,96,'PNG',X'FF501650C6165CED997B1F27C94CDD05707F36ABEF088A0D26E5959EA34C36BE',X'C41C5451A52235E4284583B00F70B451F5A9F43FBEAAC6D56C5DDE014C48FC64');
INSERT INTO "item" VALUES(3,X'17CAD2B63672017B5A450874DBF6FCEF',4,'http://127.0.0.1:8000/tiny.png','{"label": "fly"}','rejected',0,1,1,1,1,'transform','check.min_size','8 x 8 px is smaller than 32 x 32 px','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(4,X'82A4A4A9F06D871CDF71E955BB3358C2',5,'http://127.0.0.1:8000/missing.png','{"label": "owl"}','failed',0,1,1,1,1,'download','http.404','127.0.0.1 answered 404','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(5,X'6EB512D2255F13C3124DAA13F074F060',6,'http://127.0.0.1:8000/ill.png','{"label": "bat"}','failed',1,2,1,2,1,'download','http.500','127.0.0.1 answered 500','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(6,X'814009254E853B1539531DB9D16A6F38',7,'http://127.0.0.1:8000/text.png','{"label": "ape"}','failed',0,1,1,1,1,'download','not_image','127.0.0.1 sent text, not an image','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(7,X'2AD1C1B24AC249EB192B37A91EFE0B4D',8,'http://','{"label": "eel"}','failed',0,0,0,NULL,NULL,'input','input.url','the host is missing','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(8,X'EDA3112E34CCE9FF902D4B52573689A1',9,'http://127.0.0.1:8000/gone.png','{"label": "ant"}','absent',0,1,1,1,1,'','','','','done',NULL,'.jpg',NULL,200,NULL,'"gone-1"','Wed, 21 Oct 2015 07:28:00 GMT',663,48,48,80,80,'PNG',X'675A684CF293DE3AE461ECD3916C7F352F9D6F3D1DDDF12C5B15269EBFE1F394',X'4B78FD2BE8ABC705AD1CEDBB81DC233DFD26B93F4AFB6472FC6D1395611AC4E0');
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO "meta" VALUES('bad_rows',1);
INSERT INTO "meta" VALUES('duplicates',0);
INSERT INTO "meta" VALUES('input_fingerprint','');
INSERT INTO "meta" VALUES('manifests_revision',8);
INSERT INTO "meta" VALUES('plan',1);
INSERT INTO "meta" VALUES('revision',8);
CREATE TABLE plan (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, settings_json TEXT NOT NULL);
INSERT INTO "plan" VALUES(1,'4833078f412ecc79912e18f08016fb1e','{"recipe": 1, "steps": [{"path": "batchproc.transform.steps.checks:MinSize", "keys": {"width": 32, "height": 32}, "version": ""}, {"path": "batchproc.transform.steps.resize:Resize", "keys": {"size": [48, 48], "how": "contain", "factor": null, "only_shrink": null, "background": ""}, "version": ""}, {"path": "old_steps:invert", "keys": {}, "version": ""}], "quality": "balanced", "formats": ["avif", "bmp", "gif", "jpeg", "png", "tiff", "webp"], "max_pixels": 50000000, "output_format": "jpeg", "output_quality": 85, "background": "#ffffff"}');
CREATE TABLE run (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, host TEXT NOT NULL,
  pid INTEGER NOT NULL, boot_id TEXT NOT NULL, exit_code INTEGER, counters_json TEXT NOT NULL DEFAULT '{}');
INSERT INTO "run" VALUES(1,'20261127T200833Z','2026-11-27T20:08:33.016+00:00','2026-11-27T20:08:34.032+00:00','',4711,'',0,'{"items": 8, "done": 3, "rejected": 1, "failed": 4, "quarantined": 0, "deferred": 0, "pending": 0, "already_done": 1, "processed": 7, "retried": 0, "duplicates": 0, "absent": 0, "bad_rows": 1, "unchanged": 0, "failed_this_run": 3, "wall_seconds": 0.9755626289997963, "images_per_second": 3.397581997745366, "original_bytes": 566, "rendition_bytes": 1971, "stopped_by": null}');
INSERT INTO "run" VALUES(2,'20261127T200835Z','2026-11-27T20:08:35.936+00:00','2026-11-27T20:08:37.060+00:00','',4711,'',0,'{"items": 7, "done": 2, "rejected": 1, "failed": 4, "quarantined": 0, "deferred": 0, "pending": 0, "already_done": 6, "processed": 1, "retried": 0, "duplicates": 0, "absent": 1, "bad_rows": 1, "unchanged": 0, "failed_this_run": 1, "wall_seconds": 1.1052263810001932, "images_per_second": 0.0, "original_bytes": 0, "rendition_bytes": 0, "stopped_by": null}');
CREATE INDEX item_due ON item (id) WHERE due = 1;
CREATE INDEX item_state ON item (state, code);
PRAGMA application_id = 1650553955;
PRAGMA user_version = 1;
