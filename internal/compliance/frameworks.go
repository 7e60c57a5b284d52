package compliance

import (
	"slices"
	"strings"
)

// Framework is one that auditors ask for, and where its text is published.
type Framework struct {
	ID, Name, Source string
	Controls         []Control
}

// Control is one of a framework's, by its number and what it is about.
type Control struct{ ID, About string }

// Frameworks are those to whose controls policies are mapped. A policy supports a
// control: it is evidence for a part of it, and never all that an auditor asks for.
var Frameworks = []Framework{
	{"soc2", "SOC 2", "AICPA TSP section 100, 2017 Trust Services Criteria with revised points of focus of 2022", []Control{
		{"CC6.1", "logical access security over protected information assets"},
		{"CC6.3", "access by roles, least privilege and segregation of duties"},
		{"CC6.6", "protection against threats from outside the system's boundaries"},
		{"CC6.8", "unauthorised or malicious software is prevented or detected"},
		{"CC8.1", "changes are authorised, tested, approved and implemented"},
		{"A1.1", "capacity is monitored and managed"},
	}},
	{"iso27001", "ISO/IEC 27001:2022", "ISO/IEC 27001:2022, Annex A", []Control{
		{"A.5.9", "inventory of information and other associated assets, with owners"},
		{"A.5.15", "access control"},
		{"A.5.18", "access rights"},
		{"A.8.2", "privileged access rights"},
		{"A.8.6", "capacity management"},
		{"A.8.9", "configuration management"},
		{"A.8.19", "installation of software on operational systems"},
		{"A.8.20", "networks security"},
		{"A.8.22", "segregation of networks"},
		{"A.8.32", "change management"},
	}},
	{"hipaa", "HIPAA Security Rule", "45 CFR Part 164, Subpart C", []Control{
		{"164.308(a)(4)", "information access management"},
		{"164.312(a)(1)", "access control"},
		{"164.312(c)(1)", "integrity"},
		{"164.312(e)(1)", "transmission security"},
	}},
	{"gdpr", "GDPR", "Regulation (EU) 2016/679", []Control{
		{"25", "data protection by design and by default"},
		{"32(1)(b)", "ongoing confidentiality, integrity, availability and resilience"},
		{"32(1)(d)", "regular testing and evaluation of the measures"},
	}},
	{"dora", "DORA", "Regulation (EU) 2022/2554", []Control{
		{"7(c)", "ICT systems have sufficient capacity"},
		{"8(1)", "functions, assets and their owners are identified and documented"},
		{"9(4)(b)", "network and infrastructure management, with isolation of what is affected"},
		{"9(4)(c)", "logical access is limited to what is required"},
		{"9(4)(e)", "ICT change management"},
	}},
}

// Known tells a control, as "soc2/CC6.1", from one that no framework here has.
func Known(control string) bool {
	framework, id, _ := strings.Cut(control, "/")
	return slices.ContainsFunc(Frameworks, func(f Framework) bool {
		return f.ID == framework && slices.ContainsFunc(f.Controls, func(c Control) bool { return c.ID == id })
	})
}

// FrameworkIDs are the names by which frameworks are asked for.
func FrameworkIDs() []string {
	var ids []string
	for _, f := range Frameworks {
		ids = append(ids, f.ID)
	}
	return ids
}
