//! Remote interfaces by UUID: names, calls that intruders make, and which pipes lead there.

/// An interface.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: &'static str,
    pub(super) uuid: &'static str,
    /// The process that serves it: pipes of one process lead to all its interfaces.
    pub(super) process: Process,
    /// Numbers and names of calls, in order.
    pub(super) calls: &'static [(u16, &'static str)],
    /// Calls that would open a handle, with what a guest gets: 20 zero bytes and a status.
    pub(super) opens: &'static [u16],
}

/// Processes of Windows that serve pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Lsass,
    Server,
    Services,
    Spooler,
    Registry,
    EventLog,
    EndpointMapper,
    Scheduler,
    Plug,
    /// Of a domain controller only.
    Directory,
}

/// Pipes: name, process, whether nobody may open it, whether Samba has it.
pub(super) const PIPES: &[(&str, Process, bool, bool)] = &[
    ("srvsvc", Process::Server, false, true),
    ("wkssvc", Process::Server, false, true),
    ("browser", Process::Server, false, false),
    ("lsarpc", Process::Lsass, true, true),
    ("samr", Process::Lsass, true, true),
    ("netlogon", Process::Lsass, true, true),
    ("lsass", Process::Lsass, false, false),
    ("protected_storage", Process::Lsass, false, false),
    ("efsrpc", Process::Lsass, false, false),
    ("svcctl", Process::Services, false, true),
    ("ntsvcs", Process::Plug, false, true),
    ("plugplay", Process::Plug, false, false),
    ("spoolss", Process::Spooler, false, true),
    ("winreg", Process::Registry, false, true),
    ("eventlog", Process::EventLog, false, true),
    ("epmapper", Process::EndpointMapper, false, true),
    ("atsvc", Process::Scheduler, false, false),
];

/// The interfaces.
pub(super) const INTERFACES: &[Interface] = &[
    Interface {
        name: "srvsvc",
        uuid: SRVSVC,
        process: Process::Server,
        calls: &[
            (8, "NetrConnectionEnum"),
            (9, "NetrFileEnum"),
            (12, "NetrSessionEnum"),
            (14, "NetrShareAdd"),
            (15, "NetrShareEnum"),
            (16, "NetrShareGetInfo"),
            (21, "NetrServerGetInfo"),
            (28, "NetrRemoteTOD"),
            (36, "NetrShareEnumSticky"),
        ],
        opens: &[],
    },
    Interface {
        name: "wkssvc",
        uuid: WKSSVC,
        process: Process::Server,
        calls: &[(0, "NetrWkstaGetInfo"), (2, "NetrWkstaUserEnum"), (5, "NetrWkstaTransportEnum")],
        opens: &[],
    },
    Interface {
        name: "lsarpc",
        uuid: "12345778-1234-abcd-ef00-0123456789ab",
        process: Process::Lsass,
        calls: &[
            (0, "LsarClose"),
            (6, "LsarOpenPolicy"),
            (7, "LsarQueryInformationPolicy"),
            (13, "LsarEnumerateTrustedDomains"),
            (14, "LsarLookupNames"),
            (15, "LsarLookupSids"),
            (42, "LsarRetrievePrivateData"),
            (44, "LsarOpenPolicy2"),
            (45, "LsarGetUserName"),
            (46, "LsarQueryInformationPolicy2"),
            (57, "LsarLookupSids2"),
            (58, "LsarLookupNames2"),
            (76, "LsarLookupSids3"),
            (130, "LsarOpenPolicy3"),
        ],
        opens: &[6, 44],
    },
    Interface {
        name: "samr",
        uuid: "12345778-1234-abcd-ef00-0123456789ac",
        process: Process::Lsass,
        calls: &[
            (0, "SamrConnect"),
            (5, "SamrLookupDomainInSamServer"),
            (6, "SamrEnumerateDomainsInSamServer"),
            (7, "SamrOpenDomain"),
            (13, "SamrEnumerateUsersInDomain"),
            (17, "SamrLookupNamesInDomain"),
            (34, "SamrOpenUser"),
            (50, "SamrCreateUser2InDomain"),
            (55, "SamrUnicodeChangePasswordUser2"),
            (57, "SamrConnect2"),
            (62, "SamrConnect4"),
            (64, "SamrConnect5"),
        ],
        opens: &[0, 57, 62],
    },
    Interface {
        name: "netlogon",
        uuid: "12345678-1234-abcd-ef00-01234567cffb",
        process: Process::Lsass,
        calls: &[
            (4, "NetrServerReqChallenge"),
            (15, "NetrServerAuthenticate2"),
            (20, "DsrGetDcName"),
            (26, "NetrServerAuthenticate3"),
            (30, "NetrServerPasswordSet2"),
            (39, "NetrLogonSamLogonEx"),
        ],
        opens: &[],
    },
    Interface {
        name: "efsrpc",
        uuid: "df1941c5-fe89-4e79-bf10-463657acf44d",
        process: Process::Lsass,
        calls: EFS,
        opens: &[],
    },
    Interface {
        name: "efsrpc",
        uuid: "c681d488-d850-11d0-8c52-00c04fd90f7e",
        process: Process::Lsass,
        calls: EFS,
        opens: &[],
    },
    Interface {
        name: "dssetup",
        uuid: "3919286a-b10c-11d0-9ba8-00c04fd92ef5",
        process: Process::Lsass,
        calls: &[(0, "DsRolerGetPrimaryDomainInformation")],
        opens: &[],
    },
    Interface {
        name: "drsuapi",
        uuid: "e3514235-4b06-11d1-ab04-00c04fc2dcd2",
        process: Process::Directory,
        calls: &[(0, "IDL_DRSBind"), (3, "IDL_DRSGetNCChanges"), (12, "IDL_DRSCrackNames")],
        opens: &[],
    },
    Interface {
        name: "netdfs",
        uuid: "4fc742e0-4a10-11cf-8273-00aa004ae673",
        process: Process::Directory,
        calls: &[(12, "NetrDfsAddStdRoot"), (13, "NetrDfsRemoveStdRoot")],
        opens: &[],
    },
    Interface {
        name: "svcctl",
        uuid: "367abb81-9844-35f1-ad32-98f038001003",
        process: Process::Services,
        calls: &[
            (0, "RCloseServiceHandle"),
            (2, "RDeleteService"),
            (12, "RCreateServiceW"),
            (14, "REnumServicesStatusW"),
            (15, "ROpenSCManagerW"),
            (16, "ROpenServiceW"),
            (19, "RStartServiceW"),
            (27, "ROpenSCManagerA"),
        ],
        opens: &[15, 27],
    },
    Interface {
        name: "spoolss",
        uuid: "12345678-1234-abcd-ef00-0123456789ab",
        process: Process::Spooler,
        calls: &[
            (0, "RpcEnumPrinters"),
            (1, "RpcOpenPrinter"),
            (62, "RpcRemoteFindFirstPrinterChangeNotification"),
            (65, "RpcRemoteFindFirstPrinterChangeNotificationEx"),
            (69, "RpcOpenPrinterEx"),
            (89, "RpcAddPrinterDriverEx"),
        ],
        opens: &[1, 69],
    },
    Interface {
        name: "winreg",
        uuid: "338cd001-2244-31f1-aaaa-900038001003",
        process: Process::Registry,
        calls: &[
            (0, "OpenClassesRoot"),
            (1, "OpenCurrentUser"),
            (2, "OpenLocalMachine"),
            (4, "OpenUsers"),
            (15, "BaseRegOpenKey"),
            (17, "BaseRegQueryValue"),
            (31, "BaseRegSaveKeyEx"),
        ],
        opens: &[0, 1, 2, 3, 4],
    },
    Interface {
        name: "eventlog",
        uuid: "82273fdc-e32a-18c3-3f78-827929dc23ea",
        process: Process::EventLog,
        calls: &[(0, "ElfrClearELFW"), (7, "ElfrOpenELW"), (9, "ElfrOpenBELW")],
        opens: &[],
    },
    Interface {
        name: "even6",
        uuid: "f6beaff7-1e19-4fbb-9f8f-b89e2018337c",
        process: Process::EventLog,
        calls: &[(6, "EvtRpcClearLog"), (7, "EvtRpcExportLog")],
        opens: &[],
    },
    Interface {
        name: "epmapper",
        uuid: "e1af8308-5d1f-11c9-91a4-08002b14a0fa",
        process: Process::EndpointMapper,
        calls: &[(2, "ept_lookup"), (3, "ept_map")],
        opens: &[],
    },
    Interface {
        name: "atsvc",
        uuid: "1ff70682-0a51-30e8-076d-740be8cee98b",
        process: Process::Scheduler,
        calls: &[(0, "NetrJobAdd"), (2, "NetrJobEnum")],
        opens: &[],
    },
    Interface {
        name: "tsch",
        uuid: "86d35949-83c9-4044-b424-db363231fd0c",
        process: Process::Scheduler,
        calls: &[(1, "SchRpcRegisterTask"), (7, "SchRpcEnumTasks"), (12, "SchRpcRun"), (13, "SchRpcDelete")],
        opens: &[],
    },
    Interface {
        name: "pnp",
        uuid: "8d9f4e40-a03d-11ce-8f69-08003e30051b",
        process: Process::Plug,
        calls: &[],
        opens: &[],
    },
];

/// Of srvsvc.
pub(super) const SRVSVC: &str = "4b324fc8-1670-01d3-1278-5a47bf6ee188";
/// Of wkssvc.
pub(super) const WKSSVC: &str = "6bffd098-a112-3610-9833-46c3f87e345a";
/// NDR, the encoding of arguments that is spoken.
pub(super) const NDR: [u8; 20] =
    [0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0];

const EFS: &[(u16, &str)] = &[
    (0, "EfsRpcOpenFileRaw"),
    (4, "EfsRpcEncryptFileSrv"),
    (5, "EfsRpcDecryptFileSrv"),
    (6, "EfsRpcQueryUsersOnFile"),
    (7, "EfsRpcQueryRecoveryAgents"),
    (8, "EfsRpcRemoveUsersFromFile"),
    (9, "EfsRpcAddUsersToFile"),
    (12, "EfsRpcFileKeyInfo"),
    (13, "EfsRpcDuplicateEncryptionInfoFile"),
    (15, "EfsRpcAddUsersToFileEx"),
];

/// The interface of that UUID.
pub(super) fn find(uuid: &str) -> Option<&'static Interface> {
    INTERFACES.iter().find(|interface| interface.uuid == uuid)
}

impl Interface {
    /// The name of a call.
    pub(super) fn call(&self, number: u16) -> Option<&'static str> {
        self.calls.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_stands_once_and_in_order() {
        for (at, interface) in INTERFACES.iter().enumerate() {
            assert!(INTERFACES.iter().skip(at + 1).all(|other| other.uuid != interface.uuid), "{}", interface.uuid);
            assert!(interface.calls.is_sorted_by(|a, b| a.0 < b.0), "{}", interface.name);
            assert_eq!(interface.uuid.len(), 36);
        }
        assert_eq!(find(SRVSVC).and_then(|found| found.call(15)), Some("NetrShareEnum"));
    }
}
