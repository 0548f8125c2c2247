-- A database as the version before the change log left it: its schema ends with the step m20261125_000003.
-- Written by pg_dump --inserts --no-owner --no-privileges, without the commands of psql.
--
-- Key of acme: tlm_TAynMJoB2DuWDPLWTHAA4g5b7FmKUqAzkDm6uueX0zi3p04ca
-- Key of globex: tlm_YoWDn0xl4eJ0MMtOLvzfCm2Qj4LGEjSKCJ8vZ7M6dQu1GJUFA
-- Revoked key of acme: tlm_1EC0nsHtFAfIq0xBCF0xwVFCiDkGJmGYTxewoBlXWkU1Lxoxd


SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public.api_key (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    digest bytea NOT NULL,
    label text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone
);

CREATE TABLE public.customer (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    email text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.device (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    identifier text NOT NULL COLLATE pg_catalog."C",
    device_type text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.device_assignment (
    organization_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    device_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.organization (
    id uuid NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.seaql_migrations (
    version character varying NOT NULL,
    applied_at bigint NOT NULL
);

INSERT INTO public.api_key VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-3dae-776c-8d88-a73a05b20119', '\x7c6dac7a54f57c8cb7b08222ec1d033b8bbc23604324f7c7610d11e18662137b', 'revoked', '2026-11-29 23:11:50.702971+00', NULL, '2026-11-29 23:11:50.914023+00', NULL);
INSERT INTO public.api_key VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-3cd8-70fc-a114-84496b46c7a8', '\xe5162804893de9c1bb21e8005bbf5043fc130a86bc96411ffd3aaa373b9c830d', 'unnamed', '2026-11-29 23:11:50.488078+00', NULL, NULL, '2026-11-29 23:11:51+00');
INSERT INTO public.api_key VALUES ('01a22994-3b8a-7755-b91d-e48f32eae723', '01a22994-3e37-74f4-a343-96f2f26baa1b', '\x77739f197c0e9e00380b2de7224399e1667d7d62d3bc7b9bb4425f9ee1d5b275', 'unnamed', '2026-11-29 23:11:50.839075+00', NULL, NULL, '2026-11-29 23:11:52+00');

INSERT INTO public.customer VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-41f9-7347-9b4a-61df779f680a', 'ann@example.com', 'ann', '2026-11-29 23:11:51.801948+00');
INSERT INTO public.customer VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-424d-7544-af4e-b0919d4c01c8', 'bob@example.com', 'bob', '2026-11-29 23:11:51.885361+00');
INSERT INTO public.customer VALUES ('01a22994-3b8a-7755-b91d-e48f32eae723', '01a22994-42e6-708c-9a00-a4aeb861940b', 'ann@example.com', 'ann', '2026-11-29 23:11:52.038339+00');

INSERT INTO public.device VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-3fb5-7152-a5e5-e10b1c65b8f2', 'SN-1', 'sensor', '2026-11-29 23:11:51.221703+00');
INSERT INTO public.device VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-3fb5-7152-a5e5-e10cdcb2846b', 'SN-2', 'sensor', '2026-11-29 23:11:51.221703+00');
INSERT INTO public.device VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-3fb5-7152-a5e5-e10d6159791e', 'SN-unowned', 'sensor', '2026-11-29 23:11:51.221703+00');
INSERT INTO public.device VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-3fb5-7152-a5e5-e10e0ca8293a', 'ü 設 🛰', 'gateway', '2026-11-29 23:11:51.221703+00');
INSERT INTO public.device VALUES ('01a22994-3b8a-7755-b91d-e48f32eae723', '01a22994-406d-7754-9d45-6bda1d54f049', 'SN-1', 'sensor', '2026-11-29 23:11:51.4055+00');
INSERT INTO public.device VALUES ('01a22994-3b8a-7755-b91d-e48f32eae723', '01a22994-406d-7754-9d45-6bdb13f7c272', 'SN-2', 'valve', '2026-11-29 23:11:51.4055+00');
INSERT INTO public.device VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-428b-7338-a279-4bae200154ee', 'SN-3', 'camera', '2026-11-29 23:11:51.947038+00');
INSERT INTO public.device VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-428b-7338-a279-4bafc14bd4bc', 'SN-4', 'camera', '2026-11-29 23:11:51.947038+00');

INSERT INTO public.device_assignment VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-41f9-7347-9b4a-61df779f680a', '01a22994-3fb5-7152-a5e5-e10b1c65b8f2', '2026-11-29 23:11:51.801948+00');
INSERT INTO public.device_assignment VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-41f9-7347-9b4a-61df779f680a', '01a22994-3fb5-7152-a5e5-e10cdcb2846b', '2026-11-29 23:11:51.801948+00');
INSERT INTO public.device_assignment VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-41f9-7347-9b4a-61df779f680a', '01a22994-3fb5-7152-a5e5-e10e0ca8293a', '2026-11-29 23:11:51.801948+00');
INSERT INTO public.device_assignment VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-424d-7544-af4e-b0919d4c01c8', '01a22994-3fb5-7152-a5e5-e10b1c65b8f2', '2026-11-29 23:11:51.885361+00');
INSERT INTO public.device_assignment VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-424d-7544-af4e-b0919d4c01c8', '01a22994-428b-7338-a279-4bae200154ee', '2026-11-29 23:11:51.947038+00');
INSERT INTO public.device_assignment VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', '01a22994-424d-7544-af4e-b0919d4c01c8', '01a22994-428b-7338-a279-4bafc14bd4bc', '2026-11-29 23:11:51.947038+00');
INSERT INTO public.device_assignment VALUES ('01a22994-3b8a-7755-b91d-e48f32eae723', '01a22994-42e6-708c-9a00-a4aeb861940b', '01a22994-406d-7754-9d45-6bda1d54f049', '2026-11-29 23:11:52.038339+00');

INSERT INTO public.organization VALUES ('01a22994-3b2a-7254-9e85-281bd9e02795', 'acme', '2026-11-29 23:11:50.058113+00');
INSERT INTO public.organization VALUES ('01a22994-3b8a-7755-b91d-e48f32eae723', 'globex', '2026-11-29 23:11:50.154963+00');
INSERT INTO public.organization VALUES ('01a22994-3c21-7527-bd11-3e0f807b65c6', 'initech', '2026-11-29 23:11:50.30545+00');

INSERT INTO public.seaql_migrations VALUES ('m20261123_000001_create_tables', 1795993909);
INSERT INTO public.seaql_migrations VALUES ('m20261125_000002_add_key_last_use', 1795993909);
INSERT INTO public.seaql_migrations VALUES ('m20261125_000003_extend_device_index', 1795993909);

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_digest_key UNIQUE (digest);

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_organization_id_email_key UNIQUE (organization_id, email);

ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.device_assignment
    ADD CONSTRAINT device_assignment_pkey PRIMARY KEY (organization_id, customer_id, device_id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_organization_id_identifier_key UNIQUE (organization_id, identifier);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.organization
    ADD CONSTRAINT organization_name_key UNIQUE (name);

ALTER TABLE ONLY public.organization
    ADD CONSTRAINT organization_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.seaql_migrations
    ADD CONSTRAINT seaql_migrations_pkey PRIMARY KEY (version);

CREATE INDEX device_assignment_device ON public.device_assignment USING btree (organization_id, device_id, customer_id);

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.device_assignment
    ADD CONSTRAINT device_assignment_organization_id_customer_id_fkey FOREIGN KEY (organization_id, customer_id) REFERENCES public.customer(organization_id, id);

ALTER TABLE ONLY public.device_assignment
    ADD CONSTRAINT device_assignment_organization_id_device_id_fkey FOREIGN KEY (organization_id, device_id) REFERENCES public.device(organization_id, id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

