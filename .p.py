def sub(p,*prs):
    t=open(p).read()
    for a,b in prs:
        assert a in t,(p,a)
        t=t.replace(a,b,1)
    open(p,'w').write(t)
sub('src/stress/run_files.rs',("        number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))\n","        number.and_then(parse_digits::<u64>).is_some()\n"),("use crate::{store, sys};","use crate::cli::parse_digits;\nuse crate::{store, sys};"))
t=open('src/http/head.rs').read(); i=t.index('\nuse crate::')
t=t[:i+1]+"use crate::cli::parse_digits;\n"+t[i+1:]; open('src/http/head.rs','w').write(t)
