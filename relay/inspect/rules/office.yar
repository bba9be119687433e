// Documents that act by themselves: heuristics, never a verdict; policy says what becomes of them.
rule office_macro_auto {
    meta:
        kind = "rule"
        description = "an Office macro that runs when the document is opened"
    strings:
        $auto1 = "AutoOpen" nocase
        $auto2 = "Document_Open" nocase
        $auto3 = "Workbook_Open" nocase
        $auto4 = "Auto_Open" nocase
        $vba1 = "VBA" wide ascii
        $vba2 = "_VBA_PROJECT" wide ascii
    condition:
        any of ($auto*) and any of ($vba*)
}
