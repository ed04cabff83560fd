"""`make upgrade-check`: what a released version left behind is taken over by this tree, exactly.

The released tree makes a home and databases (plans pending, applied, half applied; a killed revert; import jobs; a migration
half-way; schedules switched off). This tree then lists, resumes and reverts everything. Snapshots that plain drivers took before
and after the released tree worked say what is exact. A promise to users: what a released version stored can still be read.
"""
