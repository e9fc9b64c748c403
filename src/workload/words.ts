/** Common English words, most of which are one token each in common vocabularies. */
export const words: readonly string[] =
  `able about above across act add after again age air all along also always and animal
answer any apple area around ask away back bad bag ball bank base bear because bed before begin behind believe below best better
between big bird black blue board boat body book both bottom bowl box boy branch bread break bridge bright bring brother brown
build burn busy buy call camp capital car care carry case cat catch cause center chair chance change check child choose circle city
class clean clear climb clock close cloud coast cold color come common cook cool copy corn corner cost count country course cover cow
cross crowd cry cup current cut dance dark day deal deep design desk develop dinner direct dog door double down draw dream dress
drink drive drop dry during each early earth ease east eat edge egg eight end engine enough even evening event ever every exact
example eye face fact fair fall family far farm fast father feel feet few field fight fill final find fine finger finish fire first
fish five floor flow flower fly follow food foot force forest form forward found four free fresh friend front fruit full game garden
gas gather general gentle girl give glad glass gold good grand grass gray great green ground group grow guess guide hair half hand
happen happy hard hat head hear heart heat heavy help high hill history hold hole home hope horse hot hour house huge human hundred
hunt ice idea inch island job join joy jump just keep key kind king knee know lady lake land language large last late laugh law lead
learn leave left leg length less letter level lie life lift light line list listen little long look lost love low machine main make
man many map mark market master matter measure meet metal middle mile milk million mind minute miss modern moment money month moon
morning mother motion mountain mouth move much music name nation nature near neck need never new next night nine noise north nose
note nothing number object ocean office often oil old once one open order other own page paint pair paper parent part party pass
past path pattern pay people perhaps person picture piece place plain plan plane plant play point poor port position pound power
press pretty problem process produce proper provide pull push question quick quiet race radio rain raise reach read ready real
reason receive record red region remember repeat reply rest result rich ride right ring rise river road rock roll room root rope
rose round row rule run safe sail salt same sand save say scale school science sea season seat second seed seem sell send sense
serve seven shape share sharp sheet ship shop short should shout show side sign silent silver simple sing sister sit six size
skill skin sky sleep slow small smell smile snow soft soil soldier some son song soon sound south space speak special speed spell
spend spot spring square stand star start state station stay steam step stick still stone stop store story straight strange
stream street string strong student study sugar summer sun supply sure surface swim symbol system table tail take talk tall teach
team tell ten term test thank thick thin thing think third thought thousand three through time tiny tire together tone tool top
total touch town trade train travel tree triangle trip trouble true try turn twenty two type uncle under unit until usual valley
value vary view village visit voice vowel wait walk wall want war warm wash watch water wave way wear weather week weight west wheel
white whole why wide wife wild will wind window winter wire wish woman wonder wood word work world write yard year yellow young`
    .split(/\s+/)
    .filter((word) => word !== "");
