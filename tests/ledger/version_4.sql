-- A ledger of version 4: that of version 3 brought up to it.
PRAGMA application_id = 1650553955;
PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE host (name TEXT PRIMARY KEY, not_before REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE item (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, line INTEGER NOT NULL, url TEXT NOT NULL,
  extra_json TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, due INTEGER NOT NULL, runs INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0, last_run INTEGER, plan INTEGER, stage TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  before_absent TEXT, temporary TEXT, suffix TEXT, stale_suffix TEXT, status_code INTEGER, final_url TEXT, etag TEXT,
  last_modified TEXT, size_bytes INTEGER, width_px INTEGER, height_px INTEGER, original_width_px INTEGER,
  original_height_px INTEGER, original_format TEXT, sha256 BLOB, source_sha256 BLOB,
  made_url TEXT, made_extra_json TEXT, image_notes TEXT, image_hash TEXT);
INSERT INTO "item" VALUES(1,X'12237DE60872A509013439F40D352BAA',2,'http://127.0.0.1:8000/a.png','{"label": "cat"}','done',0,1,1,1,1,'','','','',NULL,NULL,'.jpg',NULL,200,NULL,'"1808656680938228055"','',830,48,32,96,64,'PNG',X'C7EFD58724A548E8A72E70C4E33C05484F9FD0F6950A113C841AD34C44CA74B2',X'AE1B830269487458686FBAB6973355A53C9EFC6FAB219700ED18E007DEEAC238',NULL,NULL,'',NULL);
INSERT INTO "item" VALUES(2,X'94D21B94D35FB8E71914E7990A91B32E',3,'http://127.0.0.1:8000/b.png','{"label": "dog"}','done',0,1,1,1,1,'','','','',NULL,NULL,'.jpg',NULL,200,NULL,'"-8637375143233621730"','',773,32,48,64,96,'PNG',X'063C2B10885C5DFBCD243F5ABC7D55E59E1E87ECE770A1CBA9B29F11B72E4C7F',X'C7FF5F7AF730C9012DE67DD580051A1AA58E97F4CA6C07FD4F9E16DFB074415E',NULL,NULL,'',NULL);
INSERT INTO "item" VALUES(3,X'17CAD2B63672017B5A450874DBF6FCEF',4,'http://127.0.0.1:8000/tiny.png','{"label": "fly"}','rejected',0,1,1,1,1,'transform','check.min_size','8 x 8 px is smaller than 32 x 32 px','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(4,X'82A4A4A9F06D871CDF71E955BB3358C2',5,'http://127.0.0.1:8000/missing.png','{"label": "owl"}','failed',0,1,1,1,1,'download','http.404','127.0.0.1 answered 404','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(5,X'6EB512D2255F13C3124DAA13F074F060',6,'http://127.0.0.1:8000/ill.png','{"label": "bat"}','failed',1,2,1,2,1,'download','http.500','127.0.0.1 answered 500','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(6,X'814009254E853B1539531DB9D16A6F38',7,'http://127.0.0.1:8000/text.png','{"label": "ape"}','failed',0,1,1,1,1,'download','not_image','127.0.0.1 sent text, not an image','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(7,X'2AD1C1B24AC249EB192B37A91EFE0B4D',8,'http://','{"label": "eel"}','failed',0,0,0,NULL,NULL,'input','input.url','the host is missing','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "item" VALUES(8,X'EDA3112E34CCE9FF902D4B52573689A1',9,'http://127.0.0.1:8000/gone.png','{"label": "ant"}','absent',0,1,1,1,1,'','','','','done',NULL,'.jpg',NULL,200,NULL,'"4922796887799582386"','',848,48,48,80,80,'PNG',X'7708FAE132A7E505C1604463B9134948B692D31BBF2D476D9EB9D240E428B372',X'880D8A6D36F162885F43CFCB9161C0128035575C0B176DA11895FCC649696F94',NULL,NULL,'',NULL);
CREATE TABLE list_checkpoint (
  size_bytes INTEGER PRIMARY KEY, digest BLOB NOT NULL, line INTEGER NOT NULL, header_json TEXT NOT NULL,
  columns_json TEXT NOT NULL, duplicates INTEGER NOT NULL, bad_rows INTEGER NOT NULL);
CREATE TABLE listed_row (
  item INTEGER NOT NULL, line INTEGER NOT NULL, extra_json TEXT NOT NULL, PRIMARY KEY (item, line)) WITHOUT ROWID;
CREATE TABLE manifest_block (
  manifest TEXT NOT NULL, number INTEGER NOT NULL, start_bytes INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  digest BLOB NOT NULL, PRIMARY KEY (manifest, number)) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO "meta" VALUES('bad_rows',1);
INSERT INTO "meta" VALUES('columns','{"types": {"label": "text"}, "mixed": [], "remarks": {}}');
INSERT INTO "meta" VALUES('duplicates',0);
INSERT INTO "meta" VALUES('input_fingerprint','');
INSERT INTO "meta" VALUES('manifests_revision',8);
INSERT INTO "meta" VALUES('plan',1);
INSERT INTO "meta" VALUES('revision',8);
CREATE TABLE "plan" (
  id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, settings_json TEXT NOT NULL, recipe TEXT NOT NULL);
INSERT INTO "plan" VALUES(1,'062dcf53c52e5721fa4f88580a30468f','{"steps": [{"op": "min_size", "keys": {"width": 32, "height": 32}, "version": "", "source": ""}, {"op": "resize", "keys": {"size": [48, 48], "how": "contain", "factor": null, "only_shrink": null, "background": ""}, "version": "", "source": ""}, {"op": "old_steps:invert", "keys": {}, "version": "", "source": "c47d7e317d2c4dd3d5ba59e1e10a978b"}], "quality": "balanced", "formats": ["avif", "bmp", "gif", "jpeg", "png", "tiff", "webp"], "max_pixels": 50000000, "output_format": "jpeg", "output_quality": 85, "background": "#ffffff"}','2');
CREATE TABLE run (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, host TEXT NOT NULL,
  pid INTEGER NOT NULL, boot_id TEXT NOT NULL, exit_code INTEGER, counters_json TEXT NOT NULL DEFAULT '{}',
  deciding_json TEXT NOT NULL DEFAULT '{}');
INSERT INTO "run" VALUES(1,'20261127T233442Z','2026-11-27T23:34:42.754+00:00','2026-11-27T23:34:44.304+00:00','',4711,'',0,'{"items": 8, "done": 3, "rejected": 1, "failed": 4, "quarantined": 0, "deferred": 0, "pending": 0, "already_done": 1, "processed": 7, "retried": 0, "duplicates": 0, "absent": 0, "bad_rows": 1, "missing_files": 0, "pruned": 0, "unchanged": 0, "failed_this_run": 3, "wall_seconds": 1.5149724510010856, "images_per_second": 2.1944839483673455, "original_bytes": 682, "rendition_bytes": 2451, "stopped_by": null, "deferred_this_run": 0}','{"download.allow_addresses": "dcf02a096abea77a", "download.ca_file": "fbcad3b4d0be6c48", "download.client_cert": "fbcad3b4d0be6c48", "download.client_key": "fbcad3b4d0be6c48", "download.connect_timeout": "4acee7f8f636f405", "download.first_byte_timeout": "0d321240001e5966", "download.headers": "01e7b720ff566d53", "download.hosts": "01e7b720ff566d53", "download.max_bytes": "16f675f3eaa52388", "download.min_speed": "6920faf8766bf202", "download.proxy": "fbcad3b4d0be6c48", "download.robots": "198d58ea2362e8f8", "download.total_timeout": "8555e251f58276fb", "download.user_agent": "aa510ba12895c328", "output.format": "d8d755e813c23f91", "transform.formats": "06f8f3f4bb4154d6", "transform.max_pixels": "3ec1a109ee5754c9", "transform.memory_limit": "45d15038d2014a93", "transform.timeout": "e6a2bda5f82e6f78", "transform.steps": "23a9c50a6598233e"}');
INSERT INTO "run" VALUES(2,'20261127T233449Z','2026-11-27T23:34:49.804+00:00','2026-11-27T23:34:50.751+00:00','',4711,'',0,'{"items": 7, "done": 2, "rejected": 1, "failed": 4, "quarantined": 0, "deferred": 0, "pending": 0, "already_done": 6, "processed": 1, "retried": 0, "duplicates": 0, "absent": 1, "bad_rows": 1, "missing_files": 0, "pruned": 0, "unchanged": 0, "failed_this_run": 1, "wall_seconds": 0.9024158600004739, "images_per_second": 0.0, "original_bytes": 0, "rendition_bytes": 0, "stopped_by": null, "deferred_this_run": 0}','{"download.allow_addresses": "dcf02a096abea77a", "download.ca_file": "fbcad3b4d0be6c48", "download.client_cert": "fbcad3b4d0be6c48", "download.client_key": "fbcad3b4d0be6c48", "download.connect_timeout": "4acee7f8f636f405", "download.first_byte_timeout": "0d321240001e5966", "download.headers": "01e7b720ff566d53", "download.hosts": "01e7b720ff566d53", "download.max_bytes": "16f675f3eaa52388", "download.min_speed": "6920faf8766bf202", "download.proxy": "fbcad3b4d0be6c48", "download.robots": "198d58ea2362e8f8", "download.total_timeout": "8555e251f58276fb", "download.user_agent": "aa510ba12895c328", "output.format": "d8d755e813c23f91", "transform.formats": "06f8f3f4bb4154d6", "transform.max_pixels": "3ec1a109ee5754c9", "transform.memory_limit": "45d15038d2014a93", "transform.timeout": "e6a2bda5f82e6f78", "transform.steps": "23a9c50a6598233e"}');
CREATE INDEX item_due ON item (id) WHERE due = 1;
CREATE INDEX item_state ON item (state, code);
CREATE TRIGGER image_changed AFTER UPDATE OF
  key, url, extra_json, state, plan, suffix, width_px, height_px, original_width_px, original_height_px,
  original_format, size_bytes, sha256, source_sha256, final_url, status_code, etag, last_modified, image_notes,
  made_url, made_extra_json
ON item WHEN old.state = 'done' OR new.state = 'done' OR old.made_url IS NOT NULL OR new.made_url IS NOT NULL BEGIN
  DELETE FROM manifest_block WHERE manifest = 'metadata' AND number = (old.id - 1) / 256;
END;
CREATE TRIGGER early_end_changed AFTER UPDATE OF url, line, key, stage, state, code, message, hint, attempts
ON item WHEN old.state IN ('failed', 'rejected', 'quarantined', 'deferred') OR new.state IN ('failed', 'rejected', 'quarantined', 'deferred') BEGIN
  DELETE FROM manifest_block WHERE manifest = 'failures' AND number = (old.id - 1) / 256;
END;
CREATE TRIGGER listed_row_came AFTER INSERT ON listed_row BEGIN
  DELETE FROM manifest_block WHERE manifest = 'metadata' AND number = (new.item - 1) / 256;
END;
CREATE TRIGGER listed_row_went AFTER DELETE ON listed_row BEGIN
  DELETE FROM manifest_block WHERE manifest = 'metadata' AND number = (old.item - 1) / 256;
END;
COMMIT;
